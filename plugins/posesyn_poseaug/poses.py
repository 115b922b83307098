"""A set of 2D-3D pose pairs in arrays: what lifters train and are measured on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from torch import Tensor

from posesyn_core.errors import UserError
from posesyn_core.files.reading import read_npy
from posesyn_core.values import Camera, Sample
from posesyn_poseaug.camera import CAMERA, to_pixels
from posesyn_poseaug.skeleton import BONES, JOINTS, LENGTH_GROUPS, bones_of, lengths_of

SHORTEST = NEAREST = 1e-6
"""Metres: a shorter bone has no direction, a nearer root is not before its camera."""
STUDIO_FOCAL = 2.29
"""Human3.6M's focal length on the normalised screen, where none is known."""


def _tensor(value: Any) -> Tensor:
    return value.float() if isinstance(value, Tensor) else torch.from_numpy(np.array(value, np.float32))


def sample_of(found: "PoseSet", at: int, name: str, joint_set: str, size: tuple[float, float]) -> Sample:
    """One pose as a sample without a picture, ``size`` being what its pixels are of.

    Its camera is the pose's own without distortion, its principal point in the middle; the true joints are kept as they
    are, before that camera.
    """
    width, height = size
    pixels = to_pixels(found.keypoints[at].numpy(), width, height)
    focal = STUDIO_FOCAL if found.cameras is None else float(found.cameras[at, 0])
    box = np.concatenate([pixels.min(0), pixels.max(0)])
    return Sample(
        id=name,
        image=b"",
        box=box,
        joint_set=joint_set,
        keypoints2d=pixels,
        confidence=np.ones(JOINTS, np.float32),
        camera=Camera(np.full(2, focal * width / 2), np.array([width / 2, height / 2])),
        keypoints3d=found.poses[at].numpy(),
    )


def _optional(value: Any) -> Tensor | None:
    return None if value is None else _tensor(value)


@frozen(eq=False)
class PoseSet:
    """N poses: ``poses`` (N, 16, 3) metres in the camera frame with their place, ``keypoints`` (N, 16, 2) on the
    normalised screen (annotated or detected), ``cameras`` (N, 9) (None where unknown: such a set can only be measured
    on), and whose they are: ``subjects`` (N,)."""

    poses: Tensor = field(converter=_tensor)
    keypoints: Tensor = field(converter=_tensor)
    cameras: Tensor | None = field(converter=_optional)
    subjects: tuple[str, ...] = ()
    name: str = "poses"
    flip: bool = False
    """Whether lifters are measured on it with the mirrored pose's answer averaged in, as officially on 3DHP alone."""

    def __attrs_post_init__(self) -> None:
        """UserError, naming the set, for other shapes, numbers that are none, or bones without length; with cameras
        also for a root that is not before them."""
        shapes = {"poses": (JOINTS, 3), "keypoints": (JOINTS, 2), "cameras": (CAMERA,)}
        for name, shape in shapes.items():
            given = getattr(self, name)
            if given is None:
                continue
            if given.shape != (len(self.poses), *shape):
                wanted = (len(self.poses), *shape)
                raise UserError(f"{self.name}: {name} must have shape {wanted}, not {tuple(given.shape)}")
            check_finite(given, f"{self.name}: {name}")
        check_bones(self.poses, self.name)
        if self.cameras is not None:
            check_depths(self.poses, self.name)

    @property
    def known_cameras(self) -> Tensor:
        """The cameras; UserError where they are unknown."""
        if self.cameras is None:
            raise UserError(f"{self.name} has no cameras, so it can be tested on but not augmented")
        return self.cameras

    def __len__(self) -> int:
        return len(self.poses)

    @staticmethod
    def joined(several: "Sequence[PoseSet]") -> "PoseSet":
        """All of them, one after the other; cameras are known where all are."""
        if len(several) == 1:
            return several[0]
        cameras = [each.cameras for each in several if each.cameras is not None]
        return PoseSet(
            torch.cat([each.poses for each in several]),
            torch.cat([each.keypoints for each in several]),
            torch.cat(cameras) if len(cameras) == len(several) else None,
            tuple(subject for each in several for subject in each.subjects or ("",) * len(each)),
            " and ".join(each.name for each in several),
        )

    def chosen(self, index: Tensor) -> "PoseSet":
        """The poses at ``index`` (M,)."""
        subjects = tuple(self.subjects[at] for at in index.tolist()) if self.subjects else ()
        return evolve(
            self, poses=self.poses[index], keypoints=self.keypoints[index], subjects=subjects,
            cameras=None if self.cameras is None else self.cameras[index],
        )  # fmt: skip

    def of_subjects(self, names: tuple[str, ...]) -> "PoseSet":
        """The poses of those subjects (S1; S1 and S5: the paper's Fig. 6). UserError if there are none."""
        places = [at for at, subject in enumerate(self.subjects) if subject in names]
        if not places:
            known = ", ".join(sorted(set(self.subjects))) or "none"
            raise UserError(f"{self.name} has no poses of {', '.join(names)}; its subjects are {known}")
        return self.chosen(torch.tensor(places))


def check_finite(values: Tensor, what: str) -> None:
    """UserError naming the first row of ``values`` (N, ...) that holds NaN or infinity."""
    broken = ~torch.isfinite(values).flatten(1).all(1)
    if broken.any():
        raise UserError(f"{what} {int(broken.nonzero()[0, 0])} holds a number that is not finite; remove that row")


def check_bones(poses: Tensor, what: str) -> None:
    """UserError naming the first pose and bone without length: it has no direction, and would make everything NaN."""
    short = lengths_of(bones_of(poses))[..., 0] < SHORTEST
    if short.any():
        row, bone = short.nonzero()[0].tolist()
        raise UserError(f"{what}: pose {row} has a bone without length (of joint {bone + 1}); remove that pose")


def check_depths(poses: Tensor, what: str) -> None:
    """UserError naming the first pose whose root is not before the camera."""
    behind = poses[:, 0, 2] <= NEAREST
    if behind.any():
        row = int(behind.nonzero()[0, 0])
        depth = float(poses[row, 0, 2])
        raise UserError(
            f"{what}: the root of pose {row} is at depth {depth:g} m, not before the camera; remove that pose"
        )


def faults(poses: NDArray[Any], keypoints: NDArray[Any], seen: bool) -> list[str]:
    """(N,) why a pose (16, 3) with its keypoints (16, 2) can't be used, "" if it can: what a :class:`PoseSet` refuses.

    ``seen`` is whether cameras are known, before which poses must then be.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        solid, flat = np.asarray(poses, np.float32), np.asarray(keypoints, np.float32)
    finite: NDArray[np.bool_] = np.asarray([np.isfinite(part).all((1, 2)) for part in (solid, flat)]).min(0)
    sound = torch.from_numpy(np.where(finite[:, None, None], solid, np.float32(0)))
    short = (lengths_of(bones_of(sound))[..., 0] < SHORTEST).any(1).numpy()
    kinds: dict[str, NDArray[np.bool_]] = {
        "its joints hold a number that is not finite": ~finite,
        "it has a bone without length": short,
        "its root is not before the camera": np.logical_and(seen, solid[:, 0, 2] <= NEAREST),
    }
    return [next((reason for reason, rows in kinds.items() if rows[at]), "") for at in range(len(solid))]


def templates_of(poses: PoseSet) -> Tensor:
    """(S, 15) a table of bone lengths: the median of every subject of the set, left and right alike."""
    lengths = lengths_of(bones_of(poses.poses))[..., 0]
    names = sorted(set(poses.subjects)) or [""]
    labels = poses.subjects or ("",) * len(poses)
    rows = []
    for name in names:
        mine = lengths[[at for at, label in enumerate(labels) if label == name]].median(0).values
        for group in LENGTH_GROUPS:
            mine[list(group)] = mine[list(group)].mean()
        rows.append(mine)
    return torch.stack(rows)


def read_templates(path: Any) -> Tensor:
    """(S, 15) bone lengths in metres from an .npy file (the official ``hm36s15678_bl_templates.npy``).

    UserError if it is no such table, or holds a length that is no positive number.
    """
    table = read_npy(path, "table of bone lengths", f"a plain array (S, {BONES})")
    if table.ndim != 2 or table.shape[1] != BONES or not len(table):
        raise UserError(f"the table of bone lengths {str(path)!r} must have shape (S, {BONES}), not {table.shape}")
    if not (np.isfinite(table).all() and (table > 0).all()):
        row, bone = np.argwhere(~(np.isfinite(table) & (table > 0)))[0]
        raise UserError(
            f"the table of bone lengths {str(path)!r} has {table[row, bone]} in row {row}, bone {bone}: lengths are "
            "positive, in metres"
        )
    if table.max() > 3:
        raise UserError(f"the table of bone lengths {str(path)!r} has a bone of {table.max():g}: lengths are in metres")
    return torch.from_numpy(table.astype(np.float32))
