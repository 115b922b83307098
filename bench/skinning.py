"""Claim: posing a body is no slower than with smplx, vertices and joints alike, at every batch size.

Both pose the free body (once as it ships, without pose blend shapes, once with some, as SMPL has) with the same random
rotations, in turns on the same processor and threads; the best time of each counts. The chain of joints alone is
compared with smplx's ``batch_rigid_transform``. Printed: the ratio smplx / ours (above 1: ours is faster) and the
largest difference of the results in millimetres. Needs smplx (``pip install posesyn[dev]``).

    python bench/skinning.py [--turns 20] [--threads 1]
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
import roma
import torch
from smplx import SMPL
from smplx.lbs import batch_rigid_transform
from smplx.utils import Struct
from torch import Tensor

from posesyn_core.body.model import FREE_BODY, Body
from posesyn_core.body.skinning import rigid_chain
from posesyn_core.geometry.skeletons import SMPL24


def arrays_of(bending: bool) -> dict[str, np.ndarray]:
    """The free body by SMPL's names, with random pose blend shapes or none."""
    with np.load(FREE_BODY) as file:
        found = {
            name: file[name] for name in ("v_template", "shapedirs", "J_regressor", "kintree_table", "weights", "f")
        }
    shape = (*found["v_template"].shape, 207)
    found["posedirs"] = 1e-3 * np.random.default_rng(0).normal(size=shape) if bending else np.zeros(shape)
    return found


def official(arrays: dict[str, np.ndarray]) -> Callable[[Tensor, Tensor], Tensor]:
    """smplx's vertices."""
    with contextlib.redirect_stdout(io.StringIO()):
        model = SMPL("", data_struct=Struct(**arrays), num_betas=10)

    def vertices(rotations: Tensor, betas: Tensor) -> Tensor:
        return model(
            betas=betas, global_orient=rotations[:, :1], body_pose=rotations[:, 1:],
            transl=betas.new_zeros(len(betas), 3), pose2rot=False,
        ).vertices  # fmt: skip

    return vertices


def compare(name: str, theirs: Callable[[], Tensor], ours: Callable[[], Tensor], turns: int) -> None:
    """Print the ratio of the best times of both and how far the results are apart."""
    best = {theirs: np.inf, ours: np.inf}
    apart = 1000 * float((theirs() - ours()).abs().max())
    for _ in range(turns):
        for call in best:
            start = time.perf_counter()
            call()
            best[call] = min(best[call], time.perf_counter() - start)
    print(
        f"{name:<44} smplx / ours {best[theirs] / best[ours]:5.2f}   {best[ours] * 1e3:9.3f} ms   {apart:.1e} mm apart"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    bodies = {kind: arrays_of(kind == "as SMPL") for kind in ("free body", "as SMPL")}
    parents = torch.tensor(SMPL24.parents)
    with torch.no_grad():
        for count in (1, 8, 64, 512):
            rotations, betas = roma.random_rotmat(24 * count).view(count, 24, 3, 3), torch.randn(count, 10)
            for kind, arrays in bodies.items():
                theirs, ours = official(arrays), Body(arrays)
                compare(
                    f"vertices, {kind}, batch {count}",
                    lambda theirs=theirs, r=rotations, b=betas: theirs(r, b),
                    lambda ours=ours, r=rotations, b=betas: ours.pose(r, b).vertices,
                    options.turns,
                )
            rest = Body(bodies["free body"]).rest_joints(betas)
            compare(
                f"joints alone, batch {count}",
                lambda r=rotations, rest=rest: batch_rigid_transform(r, rest, parents)[0],
                lambda r=rotations, rest=rest: rigid_chain(r, rest)[1],
                10 * options.turns,
            )


if __name__ == "__main__":
    main()
