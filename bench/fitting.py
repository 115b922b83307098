"""Claim: joints -> SMPL (Eq. 8) is 20 times as fast as L-BFGS per sequence at the same energy, smooth and close.

Real motion (``train.npz`` or ``val.npz`` of the motions folder, HumanML3D joints) is fitted with the free body in two
ways: for an average person, onto whose bone lengths the motion is retargeted (Eq. 7), and where it is, with the shape
fitted too. Printed for each: the residual in mm, flips (a joint turning by more than 90 degrees from one frame to the
next where the motion's bones turn by less than 45), and jitter: the mean acceleration of the joints over that of the
motion they were fitted to.

The L-BFGS fit is torch's, written plainly: one sequence after the other, from the same closed form (which it gets for
nothing), down to the energy and residual that ours has found for that sequence, its own convergence, or
``--evaluations``. The bounds that ours keeps to when it looks for a shape are waived for it. Both take turns on the
same clips, processor and threads; how much longer L-BFGS takes is printed for the moment at which its residual is as
small as ours, and for that at which its energy is.

    python bench/fitting.py MOTIONS.npz [--frames 1000] [--turns 3] [--evaluations 3000] [--threads 2]
"""

import argparse
import contextlib
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import roma
import torch
from attrs import frozen
from torch import Tensor

from posesyn_core.body.fitting import (
    PRIOR_WEIGHT,
    SHAPE_WEIGHT,
    SMOOTHNESS,
    TURNED,
    FitResult,
    fit_smpl,
    retarget_joints,
)
from posesyn_core.body.inverse_kinematics import pose_from_joints
from posesyn_core.body.model import Body, load_body


def clips_of(path: Path, frames: int, length: int = 100) -> Tensor:
    """(B, L, 22, 3): so many frames of the first long enough motions of the file."""
    with np.load(path, allow_pickle=False) as file:
        joints, starts = file["joints"], file["offsets"]
    long = [joints[a : a + length] for a, b in pairwise(starts) if b - a >= length]
    step = max(1, len(long) // (frames // length))
    return torch.from_numpy(np.stack(long[::step][: frames // length])).float()


# ---- the energy, written plainly, and L-BFGS on it ---------------------------------------------------------------


@frozen(eq=False)
class Sequence:
    """One sequence to fit, float64: ``target`` (L, 22, 3), ``start`` (L, 24, 3, 3), and the shape if it is given."""

    body: Body
    target: Tensor
    start: Tensor
    betas: Tensor | None

    @classmethod
    def of(cls, body: Body, target: Tensor, betas: Tensor | None) -> "Sequence":
        rest = body.rest_joints(torch.zeros(1, 10).double() if betas is None else betas[None])
        start = pose_from_joints(target[None], rest, torch.ones(1, len(target), dtype=torch.bool))[0]
        return cls(body, target, start, betas)

    def energy(self, delta: Tensor, root: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """The energy of ``posesyn_core.body.fitting`` and the residual in mm.

        ``delta`` (L, T, 3): rotation vectors on top of the closed form; ``root`` (L, 3) the pelvis; ``betas`` (10,).
        """
        rotations = self.start.clone()
        rotations[:, TURNED] = self.start[:, TURNED] @ roma.rotvec_to_rotmat(delta)
        joints = self.body.pose_joints(rotations, betas.expand(len(root), -1))[:, :22]
        off = joints - joints[:, :1] + root[:, None] - self.target
        now = rotations[:, TURNED]
        half = roma.rotvec_to_rotmat(0.5 * roma.rotmat_to_rotvec(now[:-2].mT @ now[2:]))
        bent = roma.rotmat_to_rotvec(now[1:-1].mT @ now[:-2] @ half)
        total = (off**2).sum() + PRIOR_WEIGHT * (delta**2).sum() + SMOOTHNESS * (bent**2).sum()
        total = total + SHAPE_WEIGHT * len(root) * (betas**2).sum()
        return total, 1000 * off.detach().norm(dim=-1).mean()

    def energy_of(self, fit: FitResult, at: int) -> float:
        """The energy of the sequence's fit, number ``at`` of its batch."""
        pose = torch.cat([fit.global_orient[at, :, None], fit.body_pose[at]], dim=1).double()
        delta = roma.rotmat_to_rotvec(self.start.mT @ roma.rotvec_to_rotmat(pose))[:, TURNED]
        betas = fit.betas[at].double()
        return float(self.energy(delta, fit.transl[at].double() + self.body.rest_joints(betas[None])[:, 0], betas)[0])


class Reached(Exception):
    """Energy and residual are as low as wanted."""


@frozen
class Evaluation:
    """What L-BFGS had found when it computed its energy, ``seconds`` after it began."""

    seconds: float
    energy: float
    residual_mm: float


def lbfgs(sequence: Sequence, goal: float, residual_mm: float, evaluations: int) -> list[Evaluation]:
    """Minimise until energy and residual have been as low as wanted, or have been computed that often."""
    delta = torch.zeros(*sequence.start[:, TURNED].shape[:2], 3, dtype=torch.float64, requires_grad=True)
    root = sequence.target[:, 0].clone().requires_grad_()
    betas = torch.zeros(10, dtype=torch.float64, requires_grad=True) if sequence.betas is None else sequence.betas
    unknown = [each for each in (delta, root, betas) if each.requires_grad]
    optimiser = torch.optim.LBFGS(
        unknown, max_iter=evaluations, max_eval=evaluations, history_size=20, line_search_fn="strong_wolfe"
    )
    found: list[Evaluation] = []
    started = time.perf_counter()

    def closure() -> Tensor:
        optimiser.zero_grad()
        energy, residual = sequence.energy(delta, root, betas)
        found.append(Evaluation(time.perf_counter() - started, energy.item(), residual.item()))
        if min(each.energy for each in found) <= goal and min(each.residual_mm for each in found) <= residual_mm:
            raise Reached
        energy.backward()
        return energy

    with contextlib.suppress(Reached):
        optimiser.step(closure)
    return found


# ---- figures -----------------------------------------------------------------------------------------------------


def fitted_joints(body: Body, fit: FitResult) -> Tensor:
    clips, frames = fit.transl.shape[:2]
    flat = fit.global_orient.flatten(0, 1), fit.body_pose.flatten(0, 1)
    joints = body.joints(*flat, fit.betas.repeat_interleave(frames, 0), fit.transl.flatten(0, 1))
    return joints.unflatten(0, (clips, frames))[:, :, :22]


def acceleration(joints: Tensor) -> float:
    """Mean length of the joints' second differences (B, L, J, 3), mm per frame squared."""
    return float(1000 * (joints[:, 2:] - 2 * joints[:, 1:-1] + joints[:, :-2]).norm(dim=-1).mean())


def flips(fit: FitResult, target: Tensor) -> int:
    """Frames in which a joint turns by more than 90 degrees while no bone of the motion turns by 45."""
    pose = roma.rotvec_to_rotmat(torch.cat([fit.global_orient[:, :, None], fit.body_pose], dim=2))
    turned = torch.rad2deg(roma.rotmat_geodesic_distance(pose[:, 1:], pose[:, :-1])).amax(-1)
    bones = torch.nn.functional.normalize(target - target[:, :, :1] + 1e-9, dim=-1)[:, :, 1:]
    swung = torch.rad2deg((bones[:, 1:] * bones[:, :-1]).sum(-1).clamp(-1, 1).arccos()).amax(-1)
    return int(((turned > 90) & (swung < 45)).sum())


def compare(body: Body, joints: Tensor, betas: Tensor | None, turns: int, evaluations: int) -> None:
    """Fit all clips, and as many of them as there are turns with L-BFGS; print what came out."""
    everything = torch.ones(joints.shape[:2], dtype=torch.bool)
    wanted, frames = joints.double(), int(everything.sum())
    if betas is not None:
        wanted = retarget_joints(wanted, body.rest_joints(betas).double()[:, :22], everything)
    fit = fit_smpl(body, joints, betas=betas)
    jitter = acceleration(fitted_joints(body, fit).double()) / acceleration(wanted)
    print(
        f"{'shape fitted too' if betas is None else 'average shape'}: residual {float(fit.residual_mm.mean()):.1f} mm, "
        f"jitter {jitter:.3f} of the motion's, {flips(fit, wanted)} flips in {frames} frames"
    )
    double = load_body().double()
    seconds = []
    for turn in range(turns):
        started = time.perf_counter()
        fit_smpl(body, joints, betas=betas)
        ours = (time.perf_counter() - started) / frames
        sequence = Sequence.of(double, wanted[turn], None if betas is None else betas[turn].double())
        goal, residual = sequence.energy_of(fit, turn), float(fit.residual_mm[turn])
        found = lbfgs(sequence, goal, residual, evaluations)
        close = next((each for each in found if each.residual_mm <= residual), found[-1])
        low = next((each for each in found if each.energy <= goal), found[-1])
        seconds.append((ours, close.seconds / len(sequence.target), low.seconds / len(sequence.target)))
        print(
            f"  clip {turn}: ours {residual:.2f} mm, energy {goal:.5f}; L-BFGS {close.residual_mm:.2f} mm after "
            f"{found.index(close) + 1} evaluations, energy {low.energy:.5f} after {found.index(low) + 1}"
        )
    ours, close_by, as_low = np.mean(seconds, axis=0)
    print(
        f"  {1 / ours:.0f} frames/s on {torch.get_num_threads()} threads; L-BFGS: {1 / close_by:.1f} to the same "
        f"residual, ratio {close_by / ours:.0f}; {1 / as_low:.1f} to the same energy, ratio {as_low / ours:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("motions", type=Path)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3, help="sequences that L-BFGS fits, one per turn")
    parser.add_argument("--evaluations", type=int, default=3000, help="how often L-BFGS may compute its energy")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    body, joints = load_body(), clips_of(options.motions, options.frames)
    for betas in (torch.zeros(len(joints), 10), None):
        compare(body, joints, betas, options.turns, options.evaluations)


if __name__ == "__main__":
    main()
