"""SMPL-H, SMPL with fingers, as the body of 24 joints that PoseSyn poses; read by smplx, which its authors maintain.

SMPL ends an arm in one joint, the hand; SMPL-H in fifteen. With the fingers at rest the two are posed alike: whatever
follows a finger follows the hand. So a joint beyond SMPL's first 22 (up to the wrists) is merged into the hand at the
end of its arm, and the body that comes out agrees with SMPL-H exactly while the hands themselves don't turn. A turned
hand takes its fingers along, about the mean of their first knuckles.

smplx's licence allows research alone, as that of SMPL's files does: the extra ``posesyn[smpl]`` brings it.
"""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from posesyn_core.errors import UserError
from posesyn_core.files.paths import shown
from posesyn_core.geometry.skeletons import SMPL24

JOINTS = 52
"""SMPL-H's joints: SMPL's first 22, and 15 of each hand."""
SHARED = 22
WRISTS = {20: 22, 21: 23}
"""The joints that the fingers hang on -> the hands that SMPL has in their place."""


def without_fingers(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SMPL's arrays from SMPL-H's, by the same names; ``path`` is for messages.

    ``arrays`` are dense: ``v_template`` (V, 3), ``shapedirs`` (V, 3, 10), ``posedirs`` (V, 3, 459; zero if missing),
    ``J_regressor`` (52, V), ``weights`` (V, 52), ``kintree_table`` (2, 52), ``f`` (F, 3). UserError without smplx,
    or if the file's joints do not form SMPL-H's tree.
    """
    layer = _layer(path, {"posedirs": np.zeros((*arrays["v_template"].shape, 9 * (JOINTS - 1))), **arrays})
    parents = layer.parents.tolist()
    hands = [_hand_of(joint, parents) for joint in range(SHARED, JOINTS)]
    if parents[1:SHARED] != list(SMPL24.parents[1:SHARED]) or None in hands:
        raise UserError(f"body model {shown(path)}: its kintree_table is not that of SMPL-H's 52 joints")
    merged = np.zeros((JOINTS, len(SMPL24)), np.float32)
    merged[range(JOINTS), [*range(SHARED), *hands]] = 1
    regressor = layer.J_regressor.numpy()
    knuckles = [regressor[[j for j in range(SHARED, JOINTS) if parents[j] == wrist]].mean(0) for wrist in WRISTS]
    bends = layer.posedirs.numpy().T.reshape(-1, 3, 9 * (JOINTS - 1))
    bends = bends[..., : 9 * (len(SMPL24) - 1)].copy()
    bends[..., 9 * (SHARED - 1) :] = 0  # those of two finger joints, whose places the hands take
    return {
        "v_template": layer.v_template.numpy(),
        "shapedirs": layer.shapedirs.numpy(),
        "posedirs": bends,
        "J_regressor": np.concatenate([regressor[:SHARED], np.stack(knuckles)]),
        "weights": layer.lbs_weights.numpy() @ merged,
        "kintree_table": np.array([SMPL24.parents, range(len(SMPL24))]),
        "f": layer.faces_tensor.numpy(),
    }


def _layer(path: Path, arrays: Mapping[str, np.ndarray]) -> Any:
    """smplx's layer of arrays that were read already: left to itself it would unpickle the file without restriction."""
    try:
        import smplx
    except ImportError as error:
        raise UserError(
            f"body model {shown(path)} is SMPL-H, which smplx reads (for research only): "
            "pip install 'posesyn[smpl]', or use an SMPL file"
        ) from error
    with redirect_stdout(io.StringIO()):  # it prints that ten betas are used
        return smplx.SMPL("", data_struct=smplx.utils.Struct(**arrays), num_betas=arrays["shapedirs"].shape[-1])


def _hand_of(joint: int, parents: list[int]) -> int | None:
    """The hand of SMPL that a finger's joint belongs to; None if it hangs on no wrist."""
    while joint >= SHARED:
        if not 0 <= parents[joint] < joint:  # a ring, in a damaged file
            return None
        joint = parents[joint]
    return WRISTS.get(joint)
