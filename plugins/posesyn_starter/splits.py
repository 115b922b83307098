"""Which recordings of the motion data serve which purpose in the closed-loop benchmark.

    python -m posesyn_starter.splits MOTIONS.npz > mining_clips.txt

writes the names of the recordings that pose the mined images; training with ``--exclude mining_clips.txt`` keeps the
motion generator from having seen them.
"""

import sys
import zlib
from pathlib import Path

import numpy as np


def mining_clip(clip: str, domain: str) -> bool:
    """Whether the recording ``clip`` is mined: half of the ``wild`` ones, chosen by the checksum of the name."""
    return domain == "wild" and zlib.crc32(clip.encode()) % 2 == 0


def mining_clips(motions: Path) -> list[str]:
    """The mined recordings of an npz of motions, sorted."""
    with np.load(motions, allow_pickle=False) as file:
        pairs = set(zip(file["clip"].tolist(), file["domain"].tolist(), strict=True))
    return sorted(clip for clip, domain in pairs if mining_clip(clip, domain))


if __name__ == "__main__":
    print("\n".join(mining_clips(Path(sys.argv[1]))))
