"""The feedback: generated poses are drawn, the estimator looks at them, and its error is the generator's reward.

Estimator and animator are whatever their names stand for. The estimate is a constant: no gradient passes through
picture and estimator, so neither need be differentiable (as in the released code; Fig. 2 of the paper draws a loop).
"""

from collections.abc import Sequence

import numpy as np
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from torch import Tensor

from posesyn_core.body.model import Body
from posesyn_core.body.planning import plan_clips, plan_fault, reference_fault
from posesyn_core.components import Animator, PoseEstimator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_jpeg
from posesyn_core.geometry.joints import estimated
from posesyn_core.geometry.rotations import axis_angle_to_matrix
from posesyn_core.geometry.skeletons import SMPL24, shared_root
from posesyn_core.inference.predict import Result, predict
from posesyn_core.method.orientation import camera_to_y_up
from posesyn_core.pipeline.animate import draw_frames
from posesyn_core.pipeline.casting import as_reference
from posesyn_core.pipeline.judging import as_sample, label_frames
from posesyn_core.pipeline.people import Reference
from posesyn_core.values import ClipPlan, LabelledFrame, Motion, PoseEstimate
from posesyn_posegen.model import JOINTS, Direction, feedback_loss, posed

QUALITY = 95
"""Of the JPEG that the estimator gets, as the pipeline's."""
MOTION_JOINTS = 22


@frozen(eq=False)
class Seen:
    """What an estimator says of K drawn poses: ``predicted`` joints (K, 24, 3) metres, camera frame, NaN = unknown;
    ``drawn`` poses (K, 24, 3), ``rest`` poses (K, 24, 3), and the joints whose mean is the common ``root``."""

    predicted: Tensor
    drawn: Tensor
    rest: Tensor
    root: tuple[int, ...]


def _able(body: Body, people: Sequence[Reference]) -> list[Reference]:
    """Those who can be animated."""
    return [p for p in people if reference_fault(body, p.estimate, p.sample, p.skeleton) is None]


class Views:
    """An estimator and an animator that tell how wrong the former is about poses; ``camera`` False: the generated
    orientation is left aside for that of the reference people."""

    def __init__(
        self,
        estimator: PoseEstimator,
        animator: Animator,
        people: Sequence[Reference],
        body: Body,
        direction: Direction,
        camera: bool,
    ) -> None:
        if hasattr(animator, "actors"):  # it brings its own people
            people = _able(body, [as_reference(body, actor) for actor in animator.actors()])
        if not people:
            raise UserError("PoseGen's feedback has nobody to draw: 'real' must name people with SMPL's parameters")
        if not getattr(animator, "draws", True) and getattr(estimator, "needs_picture", True):
            raise UserError("PoseGen's feedback: the animator draws no person, but the estimator looks at pictures")
        self.estimator, self.animator, self.people, self.body = estimator, animator, tuple(people), body
        self.direction, self.camera = direction, camera
        self.errors: list[float] = []
        """The estimator's mean errors in mm of the feedbacks so far."""

    def __call__(self, poses: Tensor, random: np.random.Generator, count: int) -> Tensor:
        """The loss (Eq. 6 or 7) on ``count`` of the poses (B, 24, 3), drawn of reference people by ``random``."""
        chosen = random.permutation(len(poses))[:count]
        people = [self.people[at] for at in random.integers(len(self.people), size=len(chosen))]
        some = poses[torch.from_numpy(chosen)]
        seen = self.look(some, people)
        orient = some[:, :1] if self.camera else seen.drawn[:, :1]
        joints = posed(torch.cat([orient, some[:, 1:]], 1), seen.rest)
        loss = feedback_loss(seen.predicted, joints, self.direction, seen.root)
        self.errors.append(1000 * float(feedback_loss(seen.predicted, joints.detach(), "minimise", seen.root)))
        return loss

    def look(self, poses: Tensor, people: Sequence[Reference]) -> Seen:
        """What the estimator says of poses (K, 24, 3) drawn of those people, one each.

        Where it tells rotations, the joints are those of the same skeleton, as in the released code: the error is the
        pose's alone. UserError if it says nothing in 3D of any of them.
        """
        plans = self._plans(poses, people)
        frames = [self._draw(plan) for plan in plans]
        drawn = [frame for frame in frames if frame is not None]
        (results,) = predict(self.estimator, [[as_sample(frame) for frame in drawn]]) if drawn else ([],)
        waiting = iter(results)
        rest = torch.stack([self._rest(person) for person in people])
        predicted = [self._joints(None if f is None else next(waiting), rest[at]) for at, f in enumerate(frames)]
        if drawn and all(np.isnan(joints).all() for joints in predicted):
            reason = next((str(result) for result in results if isinstance(result, SampleError)), "no joint is known")
            raise UserError(
                f"the estimator says nothing in 3D of {len(drawn)} generated poses ({reason}): PoseGen's feedback "
                "needs an estimator of 3D joints that knows hips, knees, shoulders and elbows"
            )
        pose = np.stack([np.concatenate([plan.global_orient, plan.body_pose[0]]) for plan in plans])
        sets = {result.joint_set for result in results if isinstance(result, PoseEstimate) and result.smpl is None}
        root = shared_root(min(sets), SMPL24.name) if sets else (0,)
        return Seen(torch.from_numpy(np.stack(predicted)), torch.from_numpy(pose), rest, root)

    def _plans(self, poses: Tensor, people: Sequence[Reference]) -> list[ClipPlan]:
        turns = poses.detach().numpy().astype(np.float32)
        joints = self.body.pose_joints(axis_angle_to_matrix(poses.detach()), torch.zeros(len(poses), 10)).numpy()
        motions = []
        for at, (turn, own) in enumerate(zip(turns, joints, strict=True)):
            upright = camera_to_y_up(own[None, :MOTION_JOINTS])
            orient = turn[None, 0] if self.camera else None
            motions.append(Motion(str(at), "posegen", "", upright, body_pose=turn[None, 1:], global_orient=orient))
        return plan_clips(
            self.body,
            motions,
            [person.sample for person in people],
            [person.estimate for person in people],
            names=[f"posegen#{at}" for at in range(len(motions))],
            seeds=[0] * len(motions),
            orientation="anchored",
            skeletons=[person.skeleton for person in people],
        )

    def _rest(self, person: Reference) -> Tensor:
        """(24, 3): the person's T-pose, of the body or of a skeleton of their own."""
        if person.skeleton is not None:
            return torch.from_numpy(np.array(person.skeleton))
        assert person.estimate.smpl is not None
        return self.body.rest_joints(torch.from_numpy(np.array(person.estimate.smpl.betas))[None])[0].detach()

    def _draw(self, plan: ClipPlan) -> LabelledFrame | None:
        """The drawn pose, as the pipeline would have it; None if it can't be drawn."""
        if plan_fault(plan, np.inf):
            return None
        try:
            (image,) = draw_frames(self.animator, plan)
        except SampleError:
            return None
        height, width = image.shape[:2]
        (frame,) = label_frames(plan, [encode_jpeg(image, QUALITY)], width, height)
        return evolve(frame, id=plan.id)

    def _joints(self, result: Result | None, rest: Tensor) -> NDArray[np.float32]:
        """(24, 3) of one result; NaN what is not known."""
        if not isinstance(result, PoseEstimate):
            return np.full((JOINTS, 3), np.nan, np.float32)
        if result.smpl is not None:
            turns = np.concatenate([result.smpl.global_orient[None], result.smpl.body_pose])
            return posed(torch.from_numpy(turns)[None].float(), rest)[0].numpy()
        joints, known = estimated([result], SMPL24.name, 3)
        return np.where(known[0, :, None], joints[0], np.nan).astype(np.float32)
