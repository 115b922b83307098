"""The people whom an animator brings itself (``AnimatorAbilities.actors``), as reference people of a run.

A neural field of one person draws that person alone, whoever the easy samples show. Whether such a person's betas mean
anything to the run's body is found out: the body must have the person's skeleton with them. If not, the betas that come
nearest stand in the labels, for whoever draws the body; no estimator learns shape from them
(``SmplParams.shape_known``).
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from attrs import evolve

from posesyn_core.body.model import Body
from posesyn_core.body.planning import reference_fault
from posesyn_core.body.skinning import rigid_chain
from posesyn_core.components import Kind
from posesyn_core.contracts.results import calling, expect
from posesyn_core.errors import UserError
from posesyn_core.geometry.cameras import project
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.pipeline.executor import Executor
from posesyn_core.pipeline.people import Reference
from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.values import Actor, FloatArray, PoseEstimate

LARGEST_DIFFERENCE = 0.005
"""Metres by which a joint of the body may differ from the person's for the betas to be theirs."""
PULL = 1e-4
"""Towards betas of 0, square metres: of many that come near, ordinary ones are taken."""


def brings_people(run: Run) -> bool:
    """Whether the recipe's animator brings its own people. UserError if the recipe names others as well."""
    recipe = run.recipe
    if not run.registry.find(Kind.ANIMATOR, recipe.animator.name).component.brings_people:
        return False
    if recipe.reference_dataset is not None or recipe.reference is not None:
        raise UserError(f"the animator {recipe.animator.name!r} brings its own people: remove [reference]")
    return True


def cast(run: Run, executor: Executor) -> dict[str, Any]:
    """Fill the table ``references`` with the animator's people."""
    filled = executor.fill(Cast(run))
    known = [reference.estimate.smpl for reference in run.references.values()]
    unknown = sum(smpl is not None and not smpl.shape_known for smpl in known)
    told: dict[str, Any] = {"references": filled.units - filled.rejected, "references_by": run.recipe.animator.name}
    if filled.rejected:
        told |= {"references_rejected": filled.rejected, "reference_reasons": filled.reasons}
    if unknown:
        told["shape"] = (
            f"{unknown} of the animator's {len(known)} people have no betas of the run's body: "
            "no shape is learnt from their frames"
        )
    return told


class Cast(Work[Actor, Reference]):
    """Every actor, as far as they can be animated."""

    stage, part, label = "animate", 256, "references"

    @property
    def table(self) -> Table[Reference]:
        return self.run.references

    def units(self) -> list[Unit[Actor]]:
        return [(actor.sample.id, actor) for actor in self._actors]

    @cached_property
    def _actors(self) -> list[Actor]:
        animator = self.run.create(Kind.ANIMATOR, self.run.recipe.animator, "animator")
        with calling(animator.actors):
            actors = expect(animator.actors(), Actor, None, animator.actors)
        if not actors:
            raise UserError(f"the animator {self.run.recipe.animator.name!r} brings nobody")
        return actors

    @cached_property
    def body(self) -> Body:
        return self.run.bodies.body

    def rows(self, batches: Iterator[list[Unit[Actor]]]) -> Iterator[Row[Reference]]:
        for batch in batches:
            for name, actor in batch:
                reference = as_reference(self.body, actor)
                fault = reference_fault(self.body, reference.estimate, reference.sample, reference.skeleton)
                yield Row(name, reference) if fault is None else Row(name, rejected=fault)


def as_reference(body: Body, actor: Actor) -> Reference:
    """The actor as a reference of a run with this ``body``: of its proportions with the actor's betas, or with its own.

    The pelvis stays where it is.
    """
    own, smpl = _from_pelvis(actor.skeleton), actor.smpl
    rest = _rest(body, smpl.betas)
    known = smpl.shape_known and float(np.abs(_from_pelvis(rest) - own).max()) <= LARGEST_DIFFERENCE
    if not known:
        smpl = evolve(smpl, betas=nearest_betas(body, own), shape_known=False)
        rest = _rest(body, smpl.betas)
    skeleton = rest if known else own + rest[:1]
    smpl = evolve(smpl, transl=smpl.transl + actor.skeleton[0] - rest[0])
    joints = _posed(skeleton, np.concatenate([smpl.global_orient[None], smpl.body_pose])) + smpl.transl
    camera = actor.camera
    seen = project(joints, camera.focal_length, camera.principal_point)
    estimate = PoseEstimate(joints - joints[:1], seen, camera, smpl)
    return Reference(actor.sample, estimate, None if known else skeleton)


def nearest_betas(body: Body, skeleton: FloatArray) -> FloatArray:
    """The betas (10,) with which the body's joints come nearest to a skeleton (24, 3), pelvis at 0, metres."""
    template, shapes = (part.double().cpu().numpy() for part in (body.rest_template, body.rest_shapedirs))
    moves = (shapes - shapes[:1]).reshape(-1, shapes.shape[-1])
    wanted = (skeleton - (template - template[:1])).reshape(-1)
    betas = np.linalg.solve(moves.T @ moves + PULL * np.eye(moves.shape[1]), moves.T @ wanted)
    return betas.astype(np.float32)


def _from_pelvis(joints: FloatArray) -> FloatArray:
    return joints - joints[:1]


def _rest(body: Body, betas: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return body.rest_joints(torch.from_numpy(np.array(betas))[None])[0].numpy()


def _posed(skeleton: FloatArray, pose: FloatArray) -> FloatArray:
    with torch.inference_mode():
        rotations = axis_angle_to_matrix(torch.from_numpy(np.array(pose))[None])
        return rigid_chain(rotations, torch.from_numpy(np.array(skeleton))[None])[1][0].numpy()
