"""The animator ``file``: plans go out as files, frames come back as files.

For every clip there is a folder, with a name made of the clip's id::

    plan.json               id, caption, fps, seed, frames (how many), width, height, focal_length, principal_point
    plan.npz                global_orient (L, 3), body_pose (L, 23, 3), betas (10,), transl (L, 3): SMPL, axis-angle,
                            metres, camera frame (x right, y down, z away); joints3d (L, 24, 3); joints2d (L, 24, 2)
    reference.png           the picture of the person who is to move, upright
    guidance/<kind>/0001.png ...   the wanted maps of the posed body, one per frame, of the reference's size
    frames/                 what you draw: one picture per frame (PNG, JPEG...), in alphabetical order, of that size

``plan.json`` is written last: where it is, the rest is complete. Draw the frames with the program named by the option
``command``, which runs for each clip in turn; or in your own time: without it, a clip without frames is rejected, and
``posesyn run RECIPE --restart animate`` takes the frames up once they are there.
"""

import hashlib
import io
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posesyn_core.body.guidance import GUIDANCE, guidance_maps
from posesyn_core.body.model import load_body
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.files.locating import in_order
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.animate import clip_folder
from posesyn_core.values import ClipPlan, Image
from posesyn_files.config import FileConfig

ARRAYS = ("global_orient", "body_pose", "betas", "transl", "joints3d", "joints2d")


class FileAnimator:
    """Hands plans over and takes frames back. Thread-safe; the program runs for one clip at a time."""

    def __init__(self, config: FileConfig) -> None:
        """UserError for a map that is not known."""
        unknown = set(config.guidance) - set(GUIDANCE)
        if unknown:
            raise UserError(f"animator file: guidance {sorted(unknown)} is not known; known are {', '.join(GUIDANCE)}")
        self.config, self.guidance = config, config.guidance
        self.folder = Path(config.folder).expanduser()
        self.body = load_body(Path(config.body).expanduser() if config.body else None)
        self.lock = threading.Lock()

    def animate(self, plan: ClipPlan) -> Iterator[Image]:
        """The frames found in the clip's folder, which is written first if it is not there.

        SampleError if there are not as many as the plan has, if one is broken or of another size, if the program fails,
        or if the folder holds another plan.
        """
        folder = self.folder / clip_folder(plan.id)
        image = load_image(plan.reference.image)
        self._hand_over(plan, image, folder)
        if self.config.command and not _pictures(folder):
            self._run(folder)
        pictures, wanted = _pictures(folder), len(plan.transl)
        if len(pictures) != wanted:
            raise SampleError(
                f"{len(pictures)} of {wanted} frames are in {str(folder / 'frames')!r}: draw them there, then run "
                "with --restart animate"
            )
        for path in pictures:
            frame = load_image(path)
            if frame.shape != image.shape:
                raise SampleError(f"{str(path)!r} has {frame.shape[1::-1]} pixels, the reference {image.shape[1::-1]}")
            yield frame

    def _hand_over(self, plan: ClipPlan, image: Image, folder: Path) -> None:
        arrays = io.BytesIO()
        np.savez(arrays, **{name: getattr(plan, name) for name in ARRAYS})
        text = _description(plan, image)
        if (folder / "plan.json").is_file():
            if (folder / "plan.json").read_text(encoding="utf-8") != text:
                raise SampleError(f"{str(folder)!r} holds another plan of that clip; move it away, or set folder anew")
            return
        for number, maps in enumerate(guidance_maps(self.body, plan, image.shape[:2], self.guidance), start=1):
            for kind, drawn in maps.items():
                write_atomic(folder / "guidance" / kind / f"{number:04d}.png", encode_png(drawn))
        write_atomic(folder / "reference.png", encode_png(image))
        write_atomic(folder / "plan.npz", arrays.getvalue())
        (folder / "frames").mkdir(exist_ok=True)
        write_atomic(folder / "plan.json", text)

    def _run(self, folder: Path) -> None:
        command = [*words_of(self.config.command), str(folder)]
        try:
            with self.lock:
                done = subprocess.run(
                    command, capture_output=True, text=True, errors="replace", timeout=self.config.timeout, check=False
                )
        except subprocess.TimeoutExpired:
            raise SampleError(f"{command[0]} took more than {self.config.timeout:g} s") from None
        except OSError as error:
            raise UserError(f"animator file: command {command[0]!r} can't be started: {error.strerror}") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise SampleError(f"{command[0]} ended with code {done.returncode}: {last}")


def words_of(command: str) -> list[str]:
    """A command line as the system's shell would part it: on Windows backslashes are parts of paths."""
    if os.name == "nt":
        return [word.strip('"') for word in shlex.split(command, posix=False)]
    return shlex.split(command)


def _description(plan: ClipPlan, image: Image) -> str:
    digest = hashlib.blake2b(image.tobytes(), digest_size=8)
    for name in ARRAYS:
        digest.update(getattr(plan, name).tobytes())
    content = {
        "id": plan.id, "caption": plan.caption, "fps": plan.fps, "seed": plan.seed, "frames": len(plan.transl),
        "width": image.shape[1], "height": image.shape[0], "focal_length": plan.camera.focal_length.tolist(),
        "principal_point": plan.camera.principal_point.tolist(), "digest": digest.hexdigest(),
    }  # fmt: skip
    return json.dumps(content, indent=1) + "\n"


def _pictures(folder: Path) -> list[Path]:
    return in_order(path for path in (folder / "frames").iterdir() if path.is_file() and not path.name.startswith("."))
