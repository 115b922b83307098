"""Trains the lifters' starter weights: recorded motions of all kinds before cameras anywhere.

    python -m posesyn_poseaug.train_starter MOTIONS.npz [--lifter videopose] [--width 256] [--epochs 40] --folder FOLDER

The result, ``starter-LIFTER.safetensors`` in this package's ``weights``, answers in SMPL's points (``smpl16``).
Stopped, it goes on in FOLDER where it was.
"""

import argparse
from pathlib import Path

import torch

from posesyn_poseaug.config import MocapConfig
from posesyn_poseaug.joints import SMPL16
from posesyn_poseaug.mocap import MocapReader
from posesyn_poseaug.training import Data, Schedule, Training, run
from posesyn_poseaug.weights import LIFTERS, load_network, save_network, starter_file


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("motions", type=Path)
    parser.add_argument("--lifter", choices=sorted(LIFTERS), default="videopose")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    config = MocapConfig(str(options.motions), views="wild", cameras=2, stride=options.stride)
    poses = MocapReader(config).poses()
    torch.manual_seed(0)
    lifter = load_network(options.lifter, "random", width=options.width)
    schedule = Schedule(options.epochs, LIFTERS[options.lifter].rate, 256)
    lines = run(Training(lifter, Data(poses, {}, SMPL16.name), schedule, 0), options.folder, "starter")
    save_network(lifter, starter_file(options.lifter), SMPL16.name, torch.float16)
    print(f"{starter_file(options.lifter)}: loss {lines[-1]['loss']:.5f} after {len(lines) - 1} epochs")


if __name__ == "__main__":
    main()
