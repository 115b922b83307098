"""A small file of motions: people standing, walking and bending, by formulas."""

from pathlib import Path

import numpy as np

from posesyn_core.geometry.skeletons import HUMANML22

REST = {
    "pelvis": (0, 0.92, 0), "left_hip": (0.07, 0.84, 0), "right_hip": (-0.07, 0.84, 0), "spine1": (0, 1.03, 0),
    "left_knee": (0.08, 0.45, 0.02), "right_knee": (-0.08, 0.45, 0.02), "spine2": (0, 1.17, 0),
    "left_ankle": (0.08, 0.07, 0), "right_ankle": (-0.08, 0.07, 0), "spine3": (0, 1.22, 0),
    "left_foot": (0.08, 0.02, 0.12), "right_foot": (-0.08, 0.02, 0.12), "neck": (0, 1.43, 0),
    "left_collar": (0.08, 1.33, 0), "right_collar": (-0.08, 1.33, 0), "head": (0, 1.52, 0.02),
    "left_shoulder": (0.19, 1.36, 0), "right_shoulder": (-0.19, 1.36, 0), "left_elbow": (0.25, 1.09, 0),
    "right_elbow": (-0.25, 1.09, 0), "left_wrist": (0.27, 0.84, 0.03), "right_wrist": (-0.27, 0.84, 0.03),
}  # fmt: skip


def write_motions(path: Path, segments: int = 6, frames: int = 20) -> Path:
    """Half of the segments are "lab", half "wild"; in the latter people lean and wave their arms wildly."""
    rest = np.array([REST[joint] for joint in HUMANML22.joints])
    draw, joints = np.random.default_rng(0), []
    domains = np.array(["lab" if at % 2 == 0 else "wild" for at in range(segments)])
    for domain in domains:
        size, time = (0.01, 0.04)[domain == "wild"], np.arange(frames)[:, None, None]
        phase = draw.uniform(0, 6, (1, 22, 3))
        joints.append(rest + size * np.sin(0.3 * time + phase) + [0, 0, 0.05] * time)
    names = np.array([f"clip{at}_s00" for at in range(segments)])
    np.savez(
        path,
        joints=np.concatenate(joints).astype(np.float32),
        offsets=np.arange(segments + 1) * frames,
        names=names,
        clip=np.array([name.split("_")[0] for name in names]),
        domain=domains,
    )
    return path
