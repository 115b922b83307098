"""Compares joints -> SMPL (Eq. 8) with an L-BFGS fit per sequence: residual, flips, jitter, frames per second.

Real motion (``train.npz`` or ``val.npz`` of the motions folder, HumanML3D joints) is fitted with the free body:
residual in mm for an average person's shape and with the shape fitted too, flips (a joint turning by more than 90
degrees from one frame to the next where the motion's bones turn by less than 45), and jitter: the mean acceleration of
the joints over that of the motion. The L-BFGS fit minimises the same energy (joints, prior towards the closed form,
smoothness) over whole sequences, as fitters commonly do; both run in turns on the same clips and processor.

    python bench/fitting.py MOTIONS.npz [--frames 1000] [--turns 1] [--iterations 30]
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from posesyn_core.body.fitting import PRIOR_WEIGHT, SMOOTHNESS, TURNED, FitResult, fit_smpl, retarget_joints
from posesyn_core.body.inverse_kinematics import pose_from_joints
from posesyn_core.body.model import Body, load_body


def clips_of(path: Path, frames: int, length: int = 100) -> Tensor:
    """(B, L, 22, 3): so many frames of the first long enough motions of the file."""
    with np.load(path, allow_pickle=False) as file:
        joints, starts = file["joints"], file["offsets"]
    long = [joints[a : a + length] for a, b in pairwise(starts) if b - a >= length]
    step = max(1, len(long) // (frames // length))
    return torch.from_numpy(np.stack(long[::step][: frames // length])).float()


def fitted_joints(body: Body, fit: FitResult) -> Tensor:
    clips, frames = fit.transl.shape[:2]
    flat = fit.global_orient.flatten(0, 1), fit.body_pose.flatten(0, 1)
    joints = body.joints(*flat, fit.betas.repeat_interleave(frames, 0), fit.transl.flatten(0, 1))
    return joints.unflatten(0, (clips, frames))[:, :, :22]


def lbfgs(body: Body, joints: Tensor, iterations: int) -> float:
    """Fit one sequence (L, 22, 3), which the body's bones fit, by L-BFGS; returns its residual in mm."""
    rest = body.rest_joints(torch.zeros(1, 10, dtype=torch.float64))
    target = joints.double()
    mask = torch.ones(1, len(joints), dtype=torch.bool)
    start = pose_from_joints(target[None], rest, mask)[0]
    delta = torch.zeros(len(joints), len(TURNED), 3, dtype=torch.float64, requires_grad=True)
    root = target[:, 0].clone().requires_grad_()
    optimiser = torch.optim.LBFGS([delta, root], max_iter=iterations, line_search_fn="strong_wolfe")

    def posed() -> tuple[Tensor, Tensor]:
        rotations = start.clone()
        rotations[:, TURNED] = start[:, TURNED] @ roma.rotvec_to_rotmat(delta)
        joints = body.pose_joints(rotations, torch.zeros(len(target), 10, dtype=torch.float64))[:, :22]
        return rotations[:, TURNED], joints - joints[:, :1] + root[:, None]

    def energy() -> Tensor:
        optimiser.zero_grad()
        turned, found = posed()
        half = roma.rotvec_to_rotmat(0.5 * roma.rotmat_to_rotvec(turned[:-2].mT @ turned[2:]))
        bent = roma.rotmat_to_rotvec(turned[1:-1].mT @ turned[:-2] @ half)
        total = ((found - target) ** 2).sum() + PRIOR_WEIGHT * (delta**2).sum() + SMOOTHNESS * (bent**2).sum()
        total.backward()
        return total

    optimiser.step(energy)
    with torch.no_grad():
        return float(1000 * (posed()[1] - target).norm(dim=-1).mean())


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("motions", type=Path)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=1, help="sequences that L-BFGS fits, one per turn")
    parser.add_argument("--iterations", type=int, default=30)
    options = parser.parse_args()
    body, joints = load_body(), clips_of(options.motions, options.frames)
    average = torch.zeros(len(joints), 10)
    everything = torch.ones(joints.shape[:2], dtype=torch.bool)
    target = retarget_joints(joints.double(), body.rest_joints(average).double()[:, :22], everything)
    for name, betas, wanted in (("average shape", average, target), ("fitted shape", None, joints.double())):
        fit = fit_smpl(body, joints, betas=betas)
        ratio = acceleration(fitted_joints(body, fit).double()) / acceleration(wanted)
        print(
            f"{name}: residual {float(fit.residual_mm.mean()):.1f} mm, jitter {ratio:.3f} of the motion's, "
            f"{flips(fit, wanted)} flips in {joints.shape[0] * joints.shape[1]} frames"
        )
    double = load_body().double()
    ours, theirs = [], []
    for turn in range(options.turns):
        spent = time.process_time()
        fit = fit_smpl(body, joints, betas=average)
        ours.append((time.process_time() - spent) / everything.sum().item())
        spent = time.process_time()
        residual = lbfgs(double, target[turn % len(target)], options.iterations)
        theirs.append((time.process_time() - spent) / target.shape[1])
        print(f"clip {turn}: L-BFGS {residual:.1f} mm, ours {float(fit.residual_mm[turn]):.1f} mm")
    print(
        f"{1 / min(ours):.0f} frames per second of processor, L-BFGS {1 / min(theirs):.1f}: "
        f"{min(theirs) / min(ours):.0f} times"
    )


if __name__ == "__main__":
    main()
