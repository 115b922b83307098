"""An estimator on a film: people followed from frame to frame, smoothed on demand, drawn, and written track by track.

For a film: ``<name>.overlay.mp4`` with skeletons and people's numbers; ``<name>.json`` with all figures; and for each
person followed ``<name>.<track>.glb``, ``.bvh`` or ``.npz``. Who is seen for a moment only is in the JSON file alone.

Estimators see a crop at a time, each with a camera of its own; here all bodies are put before one camera, in the middle
of the picture, where it sees their joints nearest to where the estimator did. So they move in one space.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from scipy.spatial.transform import Rotation, Slerp

from posesyn_core.body.completion import complete_all
from posesyn_core.body.formats.movement import Movement, from_camera
from posesyn_core.body.formats.writers import WRITERS
from posesyn_core.body.model import Body, load_body
from posesyn_core.body.smoothing import smooth_positions, smooth_rotations
from posesyn_core.components import PersonDetector, PoseEstimator, SplitEstimator
from posesyn_core.drawing.skeletons import draw_legend, draw_number, draw_skeleton, unseen_joints
from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.errors import UserError
from posesyn_core.files.films import decoded, fault, frame_rate, write_film
from posesyn_core.files.images import encode_jpeg
from posesyn_core.files.paths import existing_file, write_atomic
from posesyn_core.geometry.cameras import place, project
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.geometry.tracking import Tracker
from posesyn_core.inference.pictures import JSON, UNITS, boxes_of, figures_of, person
from posesyn_core.inference.predict import Result, predict
from posesyn_core.progress import progress
from posesyn_core.values import Camera, FloatArray, Image, PoseEstimate, Sample, SmplParams

TOGETHER = 8
"""People who are estimated in one batch."""
FORMATS = (JSON, *WRITERS)
"""What can be written of a film."""
USUAL = (JSON, "npz", "glb")
SHORTEST, SHORTEST_SECONDS = 2, 0.25
"""Frames, and seconds, of a track that is drawn and written: shorter ones are mostly nobody."""


@frozen
class Seen:
    """Somebody in a frame: which frame of those looked at, which track, the box, and what was estimated."""

    at: int
    track: int
    sample: Sample
    result: Result


@frozen
class Film:
    """What a film is, and which of its frames are looked at: every ``stride``-th."""

    path: Path
    stride: int
    rate: float

    @property
    def fps(self) -> float:
        """Frames looked at in a second."""
        return self.rate / self.stride

    def frames(self) -> Iterator[tuple[int, Image]]:
        """(its place among the frames looked at, the frame). UserError if the film can't be decoded."""
        try:
            for number, image in decoded(self.path, lambda number: number % self.stride == 0):
                yield number // self.stride, image
        except UserError:
            raise
        except Exception as error:  # whatever a damaged file leads FFmpeg and its binding to
            raise UserError(f"the film {str(self.path)!r} can't be decoded: {fault(error)}") from error


def open_film(path: Path, stride: int = 1) -> Film:
    """The film of a file; UserError if it is none, or without PyAV."""
    try:
        return Film(existing_file(path, "film"), stride, frame_rate(path))
    except ModuleNotFoundError as error:
        raise UserError("films need PyAV: pip install 'posesyn[video]'") from error
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"the film {str(path)!r} can't be decoded: {fault(error)}") from error


def predict_film(
    estimator: PoseEstimator | SplitEstimator,
    film: Film,
    folder: Path,
    *,
    detector: PersonDetector | None = None,
    network: LoadedNetwork | None = None,
    formats: Sequence[str] = USUAL,
    smooth: float = 0.0,
    workers: int = 2,
    caption: str = "",
) -> list[Path]:
    """Estimate everybody in a film and write the files of this module's docstring into ``folder``; return them.

    Without a ``detector`` every frame is one person. ``smooth``: the standard deviation, in seconds, of the Gaussian
    over each track's rotations and places. ``formats`` are of ``FORMATS``. UserError for another one, and for a film
    that can't be decoded.
    """
    unknown = set(formats) - set(FORMATS)
    if unknown:
        raise UserError(
            f"a film's people can't be written as {', '.join(sorted(unknown))}; choose {', '.join(FORMATS)}"
        )
    body = getattr(estimator, "body", None)
    body = body if isinstance(body, Body) else load_body()
    seen, size = _look(estimator, film, detector, network, workers, body)
    camera = _camera(seen, size)
    tracks = {number: _track(body, members, camera, smooth * film.fps) for number, members in _by_track(seen).items()}
    least = max(SHORTEST, round(SHORTEST_SECONDS * film.fps))
    followed = {number: members for number, members in tracks.items() if len(members) >= least}
    base = folder / film.path.stem
    written = [Path(f"{base}.overlay.mp4")]
    write_film(written[0], _drawn(film, followed, caption), film.fps)
    if JSON in formats:
        written.append(Path(f"{base}.json"))
        write_atomic(written[-1], json.dumps(_description(film, size, tracks)) + "\n")
    for number, members in followed.items():
        movement = _movement(body, f"{film.path.stem}.{number}", film.fps, members)
        for kind in (kind for kind in formats if kind != JSON and movement is not None):
            assert movement is not None
            written.append(Path(f"{base}.{number}.{kind}"))
            write_atomic(written[-1], WRITERS[kind](body, movement))
    return written


def _look(
    estimator: PoseEstimator | SplitEstimator,
    film: Film,
    detector: PersonDetector | None,
    network: LoadedNetwork | None,
    workers: int,
    body: Body,
) -> tuple[list[Seen], tuple[int, int]]:
    """Everybody in every frame, as a whole SMPL pose where there is enough for one, and the frames' (width, height)."""
    tracker, size = Tracker(), (0, 0)
    found: list[tuple[int, int, Sample]] = []

    def people() -> Iterator[tuple[int, int, Sample]]:
        nonlocal size
        for at, image in film.frames():
            size = image.shape[1], image.shape[0]
            boxes = [[0.0, 0.0, size[0] - 1.0, size[1] - 1.0]] if detector is None else boxes_of(detector, image)
            encoded = encode_jpeg(image)
            for box, track in zip(boxes, tracker.follow(boxes, at / film.fps), strict=True):
                name = f"{film.path.name}/{at * film.stride:06d}-{track}"
                yield at, track, person(name, encoded, box, None)

    def batches() -> Iterator[list[Sample]]:
        remaining = people()
        while group := list(islice(remaining, TOGETHER)):
            found.extend((at, track, evolve(sample, image=b"")) for at, track, sample in group)
            yield [sample for _, _, sample in group]

    results: list[Result] = []
    with progress("predict") as told:
        for batch in predict(estimator, batches(), network=network, workers=workers):
            results += complete_all(body, batch)
            told.advance(len(batch))
    return [Seen(at, track, s, result) for (at, track, s), result in zip(found, results, strict=True)], size


def _by_track(seen: Sequence[Seen]) -> dict[int, list[Seen]]:
    tracks: dict[int, list[Seen]] = {}
    for one in seen:
        tracks.setdefault(one.track, []).append(one)
    return tracks


def _camera(seen: Sequence[Seen], size: tuple[int, int]) -> Camera:
    """One camera for all: the estimates' median focal length, in the middle of the picture."""
    focal = [one.result.camera.focal_length for one in seen if isinstance(one.result, PoseEstimate)]
    middle = (np.array(size) - 1) / 2
    return Camera(np.median(focal, axis=0) if focal else np.full(2, max(*size, 1)), middle)  # type: ignore[arg-type]


def _track(body: Body, members: Sequence[Seen], camera: Camera, sigma: float) -> list[Seen]:
    """A track's people before one ``camera``, smoothed; those without a body stay as they are."""
    whole = [
        at for at, one in enumerate(members) if isinstance(one.result, PoseEstimate) and one.result.smpl is not None
    ]
    if not whole:
        return list(members)
    poses = [members[at].result for at in whole]
    frames = np.array([members[at].at for at in whole])
    bodies = _smoothed(_placed(body, poses, camera), frames, sigma)  # type: ignore[arg-type]
    moved = list(members)
    for at, estimate in zip(whole, _estimates(body, bodies, camera), strict=True):
        moved[at] = evolve(members[at], result=evolve(estimate, residual_mm=members[at].result.residual_mm))  # type: ignore[union-attr]
    return moved


def _placed(body: Body, poses: Sequence[PoseEstimate], camera: Camera) -> list[SmplParams]:
    """Bodies where ``camera`` sees their joints nearest to where their own cameras do."""
    bodies = [pose.smpl for pose in poses if pose.smpl is not None]
    joints = _joints(body, bodies)
    lenses = [np.stack([getattr(pose.camera, name) for pose in poses]) for name in ("focal_length", "principal_point")]
    pixels = project(joints, *lenses)
    known = np.ones(pixels.shape[:2], bool)
    one = [np.repeat(each[None], len(poses), 0) for each in (camera.focal_length, camera.principal_point)]
    moved = place(joints - joints[:, :1], pixels, known, *one)
    return [
        evolve(smpl, transl=smpl.transl + (to - root)) if np.isfinite(to).all() and to[2] > 0 else smpl
        for smpl, to, root in zip(bodies, moved, joints[:, 0], strict=True)
    ]


def _smoothed(bodies: Sequence[SmplParams], frames: np.ndarray, sigma: float) -> list[SmplParams]:
    """The bodies of ``frames`` (N,) smoothed over time, in which those that lack between them are filled in."""
    if sigma <= 0 or len(bodies) < SHORTEST:
        return list(bodies)
    orient, pose, transl = _filled(bodies, frames)
    orient, pose, transl = (
        smooth_rotations(orient, sigma),
        smooth_rotations(pose, sigma),
        smooth_positions(transl, sigma),
    )
    betas = np.median([smpl.betas for smpl in bodies], axis=0)
    at = frames - frames[0]
    return [SmplParams(orient[t], pose[t], betas, transl[t]) for t in at]


def _filled(bodies: Sequence[SmplParams], frames: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Orientation (L, 3), pose (L, 23, 3) and place (L, 3) of every frame from the first to the last."""
    every = np.arange(frames[0], frames[-1] + 1)
    known = np.stack([np.concatenate([smpl.global_orient[None], smpl.body_pose]) for smpl in bodies])
    turns = [Slerp(frames, Rotation.from_rotvec(known[:, joint]))(every).as_rotvec() for joint in range(known.shape[1])]
    rotations = np.stack(turns, axis=1).astype(np.float32)
    places = np.stack([smpl.transl for smpl in bodies])
    transl = np.stack([np.interp(every, frames, places[:, axis]) for axis in range(3)], -1).astype(np.float32)
    return rotations[:, 0], rotations[:, 1:], transl


def _joints(body: Body, bodies: Sequence[SmplParams]) -> FloatArray:
    """(N, 24, 3) metres, camera frame."""
    names = ("global_orient", "body_pose", "betas", "transl")
    with torch.inference_mode():
        parts = (torch.from_numpy(np.stack([getattr(smpl, name) for smpl in bodies])) for name in names)
        return body.joints(*(part.to(body.v_template.device) for part in parts)).cpu().numpy()


def _estimates(body: Body, bodies: Sequence[SmplParams], camera: Camera) -> list[PoseEstimate]:
    joints = _joints(body, bodies)
    pixels = project(joints, camera.focal_length, camera.principal_point)
    return [
        PoseEstimate(each - each[:1], seen, camera, smpl)
        for each, seen, smpl in zip(joints, pixels, bodies, strict=True)
    ]


def _movement(body: Body, name: str, fps: float, members: Sequence[Seen]) -> Movement | None:
    """A track as one movement at the film's own rate; None if it is too short."""
    known = [(one.at, one.result.smpl) for one in members if isinstance(one.result, PoseEstimate)]
    with_body = [(at, smpl) for at, smpl in known if smpl is not None]
    if len(with_body) < SHORTEST:
        return None
    orient, pose, transl = _filled([smpl for _, smpl in with_body], np.array([at for at, _ in with_body]))
    betas = np.median([smpl.betas for _, smpl in with_body], axis=0)
    frames = [SmplParams(turn, bent, betas, where) for turn, bent, where in zip(orient, pose, transl, strict=True)]
    return from_camera(body, name, fps, frames)


def _drawn(film: Film, tracks: Mapping[int, Sequence[Seen]], caption: str) -> Iterator[Image]:
    """The frames with everybody's skeleton and number."""
    people: dict[int, list[Seen]] = {}
    for members in tracks.values():
        for one in members:
            people.setdefault(one.at, []).append(one)
    for at, image in film.frames():
        drawn = image.copy()
        for one in people.get(at, ()):
            if isinstance(one.result, PoseEstimate):
                unseen = unseen_joints(one.result.joints2d, image.shape, one.result.confidence)
                drawn = draw_skeleton(drawn, one.result.joints2d, one.result.joint_set, unseen=unseen)
            draw_number(drawn, one.track, one.sample.box)
        draw_legend(drawn, caption, faint=True)
        yield drawn


def _description(film: Film, size: tuple[int, int], tracks: Mapping[int, Sequence[Seen]]) -> dict[str, Any]:
    """What the JSON file says: as of pictures, by track and frame (counted in the film, with its time in seconds)."""
    return {
        "film": str(film.path),
        "size": list(size),
        "fps": film.rate,
        "stride": film.stride,
        "joint_set": SMPL24.name,
        "joint_names": list(SMPL24.joints),
        "units": dict(UNITS),
        "tracks": [
            {"track": number, "frames": [_of_frame(film, one) for one in members]} for number, members in tracks.items()
        ],
    }


def _of_frame(film: Film, one: Seen) -> dict[str, Any]:
    when = {"frame": one.at * film.stride, "time": round(one.at / film.fps, 4), "box": one.sample.box.tolist()}
    return when | figures_of(one.result)
