"""Pictures of one person from known cameras: what a field is trained on."""

from pathlib import Path

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from posesyn_anerf.cameras import Floats
from posesyn_core.errors import UserError
from posesyn_core.files.paths import existing_file
from posesyn_core.files.reading import reading

FORMAT = "A-NeRF's data file"
KEYS = ("imgs", "img_shape", "skts", "cyls", "rest_pose", "c2ws", "focals")


@frozen(eq=False)
class Pictures:
    """N pictures (N, H, W, 3) uint8 of P poses: ``pose`` (N,) says which each shows, ``c2w`` (N, 4, 4), ``focal`` and
    ``centre`` (N, 2) pixels how it is seen.

    ``masks`` (N, H, W) uint8 are the person's share of each pixel, 0..255, ``sampling`` (N, H, W) bool the pixels that
    training draws from. ``backgrounds`` (B, H, W, 3) uint8 and ``background`` (N,) stand behind them. ``skts`` (P, 24,
    4, 4) and ``cylinders`` (P, 5) are the skeletons, ``rest_pose`` (24, 3) the T-pose, all in field units.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    sampling: NDArray[np.bool_]
    backgrounds: NDArray[np.uint8]
    background: NDArray[np.intp]
    pose: NDArray[np.intp]
    c2w: Floats
    focal: Floats
    centre: Floats
    skts: Floats
    cylinders: Floats
    rest_pose: Floats
    betas: Floats | None = field(default=None)

    def of_poses(self, poses: NDArray[np.intp]) -> NDArray[np.intp]:
        """The pictures that show one of the given poses."""
        return np.flatnonzero(np.isin(self.pose, poses))


def read_h5(path: Path) -> Pictures:
    """The official data file (h5). UserError if it is damaged or lacks what training needs.

    Image i shows pose i of ``skts`` (with ``kp_idxs``: that pose; with fewer skeletons than pictures and no such array:
    pose i modulo their number, SURREAL's order) through its own camera, or that of ``cam_idxs``.
    """
    import h5py

    path = existing_file(path, FORMAT)
    with reading(path, FORMAT, "an h5 file"), h5py.File(path, "r") as file:
        missing = [key for key in KEYS if key not in file]
        if missing:
            raise UserError(f"{FORMAT} {str(path)!r} lacks {', '.join(missing)}")
        data = {key: np.array(file[key]) for key in file}
    count, height, width, _ = (int(each) for each in data["img_shape"])
    poses, cameras = len(data["skts"]), len(data["c2ws"])
    shape = (count, height, width)
    if data["imgs"].size != 3 * np.prod(shape):
        raise UserError(f"{FORMAT} {str(path)!r}: imgs do not fit img_shape {(*shape, 3)}")
    number = np.arange(count)
    pose = data["kp_idxs"].astype(np.intp) if "kp_idxs" in data else number % poses
    camera = data["cam_idxs"].astype(np.intp) if "cam_idxs" in data else number % cameras
    if max(pose.max(initial=0) - poses, camera.max(initial=0) - cameras) >= 0:
        raise UserError(f"{FORMAT} {str(path)!r}: a picture's pose or camera is not in the file")
    masks = data.get("masks", np.ones((*shape, 1), np.uint8)).reshape(shape)
    sampling = data.get("sampling_masks", masks).reshape(shape) > 0
    backgrounds = (
        data["bkgds"].reshape(-1, height, width, 3) if "bkgds" in data else np.full((1, height, width, 3), 255)
    )
    focal = data["focals"].reshape(cameras, -1)[camera]
    centre = data["centers"][camera] if "centers" in data else np.tile([width / 2, height / 2], (count, 1))
    betas = data.get("betas")
    return Pictures(
        images=data["imgs"].reshape(*shape, 3),
        masks=(255 * (masks > 0)).astype(np.uint8),
        sampling=sampling,
        backgrounds=backgrounds.astype(np.uint8),
        background=data.get("bkgd_idxs", np.zeros(count)).astype(np.intp),
        pose=pose,
        c2w=data["c2ws"][camera],
        focal=np.broadcast_to(focal, (count, 2)) if focal.shape[1] == 1 else focal,
        centre=centre,
        skts=data["skts"],
        cylinders=data["cyls"],
        rest_pose=data["rest_pose"].reshape(-1, 24, 3)[0],
        betas=None if betas is None else betas.reshape(-1, betas.shape[-1])[0],
    )
