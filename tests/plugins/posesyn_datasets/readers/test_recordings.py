"""The official releases of Human3.6M (CDF, videos) and MPI-INF-3DHP (MATLAB 5 and 7.3, videos), small and faithful."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from posesyn_core import Sample, UserError
from posesyn_core.components import Kind
from posesyn_core.files.images import load_image
from posesyn_core.registry import Origin, Registry
from posesyn_core.values import SampleOrRejection
from posesyn_datasets import plugin
from posesyn_datasets.readers.human36m import Human36mRecordings
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn
from tests.plugins.posesyn_datasets.readers.test_video import write_video

cdfwrite = pytest.importorskip("cdflib.cdfwrite")
h5py = pytest.importorskip("h5py")

F, C = np.array([1145.0, 1143.0]), np.array([512.0, 515.0])
FRAMES = 8
UNIVERSAL = 1.1
"""How much larger than the actors MPI-INF-3DHP's universal skeleton is here."""
H36M_KEPT = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
MPI_KEPT = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]


def poses(name: str, count: int, kept: list[int], frames: int = FRAMES) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels (N, count, 2) and mm (N, count, 3) of somebody who turns 4 m before the camera; spare joints at 5 m."""
    joints = np.tile([0.0, 0, 5000], (frames, count, 1))
    for at in range(frames):
        joints[at, kept] = 1000 * (figure(name, 0.2 * at) + np.array([0.1, 0, 4 + 0.1 * at]))
    return joints[..., :2] / joints[..., 2:] * F + C, joints


def read(name: str, root: Path, **options: Any) -> list[SampleOrRejection]:
    registry = Registry.empty()
    registry.add(plugin, Origin("datasets", "posesyn", "0"))
    return list(registry.create(Kind.READER, name, {"root": str(root), **options}, "test").samples())


def write_cdf(path: Path, rows: NDArray[Any]) -> None:
    """One record (N, 3 x 32) named Pose, as MATLAB's cdfwrite leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    file = cdfwrite.CDF(str(path), {"Majority": "row_major", "Encoding": 6})
    spec = {"Variable": "Pose", "Data_Type": 45, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": list(rows.shape)}
    file.write_var(spec, var_data=rows[None])
    file.close()


def write_h36m(root: Path, change: Callable[..., Any] = lambda pixels, joints: None) -> None:
    for subject in ("S9", "S11"):
        for name in ("Directions 1.54138969", "Directions 1.60457274", "_ALL.60457274"):
            pixels, joints = poses("h36m17", 32, H36M_KEPT)
            change(pixels, joints)
            features = root / subject / "MyPoseFeatures"
            write_cdf(features / f"D2_Positions/{name}.cdf", pixels.reshape(FRAMES, 64))
            write_cdf(features / f"D3_Positions_mono/{name}.cdf", joints.reshape(FRAMES, 96))
            write_video(root / subject / f"Videos/{name}.mp4", frames=FRAMES)


def expect(sample: Any, sample_id: str, name: str, at: int, scale: float = 1) -> None:
    """Frame ``at`` (from 0) of :func:`poses`, seen by the camera that made them, all lengths times ``scale``."""
    assert isinstance(sample, Sample), sample
    assert sample.id == sample_id
    assert sample.joint_set == name
    truth = scale * (figure(name, 0.2 * at) + np.array([0.1, 0, 4 + 0.1 * at]))
    assert sample.keypoints3d == pytest.approx(truth, abs=1e-5)
    assert sample.camera is not None
    assert sample.camera.focal_length == pytest.approx(F, rel=1e-5)
    assert sample.camera.principal_point == pytest.approx(C, rel=1e-5)
    drawn(sample)


def test_human36m_as_it_is_released(root: Path) -> None:
    write_h36m(root)
    samples = read("human36m", root)
    stems = [f"human36m/test/{s}/{s}_Directions_1.60457274/{s}_Directions_1.60457274" for s in ("S9", "S11")]
    numbers = [(stem, at) for stem in stems for at in (0, 5)]
    assert len(samples) == len(numbers)
    for sample, (stem, at) in zip(samples, numbers, strict=True):
        expect(sample, f"{stem}_{at + 1:06d}", "h36m17", at)
        assert isinstance(sample, Sample)
        image = load_image(sample.image)  # frame n of the video is grey of brightness 30 n
        assert image.shape == (48, 64, 3)
        assert image[30:, 30:].mean() == pytest.approx(30 * at, abs=9)
    assert len(read("human36m", root, views="all", stride=1)) == 4 * FRAMES


def test_human36m_with_frames_that_were_extracted(root: Path, photo: bytes) -> None:
    write_h36m(root)
    name = "S9_Directions_1.60457274"
    (root / f"images/S9/{name}").mkdir(parents=True)
    (root / f"images/S9/{name}/{name}_000006.jpg").write_bytes(photo)
    sample = read("human36m", root)[1]
    expect(sample, f"human36m/test/S9/{name}/{name}_000006", "h36m17", 5)
    assert isinstance(sample, Sample)
    assert load_image(sample.image).shape == (60, 80, 3)


def test_the_converted_form_goes_before_the_official_one(root: Path) -> None:
    write_h36m(root)
    registry = Registry.empty()
    registry.add(plugin, Origin("datasets", "posesyn", "0"))
    assert isinstance(registry.create(Kind.READER, "human36m", {"root": str(root)}, ""), Human36mRecordings)
    (root / "annotation_body3d/fps50").mkdir(parents=True)
    (root / "annotation_body3d/fps50/h36m_test.npz").write_bytes(b"")
    assert not isinstance(registry.create(Kind.READER, "human36m", {"root": str(root)}, ""), Human36mRecordings)


def test_broken_recordings_of_human36m_are_refused_as_a_whole(root: Path) -> None:
    write_h36m(root)
    (root / "S9/MyPoseFeatures/D2_Positions/Directions 1.60457274.cdf").write_bytes(b"no CDF")
    write_video(root / "S11/Videos/Directions 1.60457274.mp4", frames=3)
    broken, *good, short = read("human36m", root)
    assert isinstance(broken, tuple)
    assert "D2_Positions/Directions 1.60457274.cdf is no CDF file" in broken[1]
    assert [isinstance(entry, Sample) for entry in good] == [True]
    assert isinstance(short, tuple)
    assert short[1] == "the video ends before frame 6 of 8"
    (root / "S11/Videos/Directions 1.60457274.mp4").write_bytes(b"no video")
    assert "can't be decoded" in str(read("human36m", root)[-1])
    (root / "S11/Videos/Directions 1.60457274.mp4").unlink()
    assert "can't be decoded" in str(read("human36m", root)[-1])


def in_metres(pixels: NDArray[Any], joints: NDArray[Any]) -> None:
    joints /= 1000


def of_the_world(pixels: NDArray[Any], joints: NDArray[Any]) -> None:
    joints[..., 2] -= 4300


def of_another_take(pixels: NDArray[Any], joints: NDArray[Any]) -> None:
    pixels[:] = pixels[::-1, ::-1].copy()


def test_units_and_frames_of_reference_are_checked(root: Path) -> None:
    write_h36m(root / "a", in_metres)
    with pytest.raises(UserError, match=r"Directions 1\.60457274\.cdf' can't be in millimetres.*in metres"):
        read("human36m", root / "a")
    for name, change, reason in (("b", of_the_world, "not in front"), ("c", of_another_take, "don't belong together")):
        write_h36m(root / name, change)
        entry = read("human36m", root / name)[0]
        assert isinstance(entry, tuple)
        assert reason in entry[1]


def test_what_human36m_lacks_is_said(root: Path) -> None:
    write_h36m(root)
    (root / "S11/MyPoseFeatures/D2_Positions").rename(root / "S11/elsewhere")
    with pytest.raises(UserError, match=r"misses S11/MyPoseFeatures/D2_Positions in .*official archives"):
        read("human36m", root)
    write_cdf(root / "S9/MyPoseFeatures/D2_Positions/Directions 1.60457274.cdf", np.zeros((FRAMES, 34)))
    with pytest.raises(UserError, match=r"must have 32 joints of 2 numbers, not 34"):
        read("human36m", root, subjects=["S9"])


def cells(rows: NDArray[Any]) -> NDArray[Any]:
    """A (14, 1) cell array with the same rows for every camera, as MATLAB writes it."""
    made = np.empty((14, 1), object)
    for camera in range(14):
        made[camera, 0] = rows
    return made


def write_train(root: Path, frames: int = FRAMES, **changes: Any) -> None:
    """All 16 sequences, of which the first alone has frames (a real one has 6000 and more)."""
    for subject in range(1, 9):
        for sequence in (1, 2):
            folder = root / f"S{subject}/Seq{sequence}"
            folder.mkdir(parents=True)
            count = frames if (subject, sequence) == (1, 1) else 1
            pixels, joints = poses("mpi3dhp17", 28, MPI_KEPT, count)
            data = {
                "annot2": cells(pixels.reshape(count, 56)),
                "annot3": cells(joints.reshape(count, 84)),
                "univ_annot3": cells(1.1 * joints.reshape(count, 84)),
                "cameras": np.arange(14.0)[None],
                "frames": np.arange(float(count))[:, None],
                **changes,
            }
            scipy.io.savemat(folder / "annot.mat", data)
            for camera in (0, 1, 2, 4, 5, 6, 7, 8) if count > 1 else ():
                write_video(folder / f"imageSequence/video_{camera}.avi", frames=count)


def test_the_training_set_of_mpi_inf_3dhp(root: Path) -> None:
    write_train(root)
    entries = read("mpi_inf_3dhp", root, split="train", stride=4)
    samples = entries[: 8 * 2]
    ids = [f"mpi_inf_3dhp/train/S1_Seq1_Cam{c}_{at + 1:06d}" for c in (0, 1, 2, 4, 5, 6, 7, 8) for at in (0, 4)]
    for sample, sample_id in zip(samples, ids, strict=True):
        at = int(sample_id[-6:]) - 1
        expect(sample, sample_id, "mpi3dhp17", at)
        assert isinstance(sample, Sample)
        assert load_image(sample.image)[30:, 30:].mean() == pytest.approx(30 * at, abs=9)
    rest = entries[8 * 2 :]  # the other sequences have annotations, but no video
    assert len(rest) == 15 * 8
    assert all(isinstance(entry, tuple) and "can't be decoded" in entry[1] for entry in rest)


def write_test(root: Path, frames: int = 4, **changes: Any) -> None:
    for subject in range(1, 7):
        folder = root / f"TS{subject}"
        (folder / "imageSequence").mkdir(parents=True)
        pixels, joints = poses("mpi3dhp17", 17, list(range(17)), frames)
        data = {
            "annot2": pixels[:, None],
            "annot3": joints[:, None],
            "univ_annot3": UNIVERSAL * joints[:, None],
            "valid_frame": np.array([1.0] * (frames - 1) + [0])[:, None],
            **changes,
        }
        with h5py.File(folder / "annot_data.mat", "w", userblock_size=512) as file:
            for key, values in data.items():
                if values is not None:
                    file[key] = values


def test_a_test_set_without_the_universal_skeleton_has_the_actors_own(root: Path) -> None:
    write_test(root, univ_annot3=None)
    expect(read("mpi_inf_3dhp", root)[1], "mpi_inf_3dhp/test/TS1_000002", "mpi3dhp17", 1)


@pytest.mark.parametrize("place", ["", "test", "mpi_inf_3dhp_test_set"])
def test_the_test_set_of_mpi_inf_3dhp(root: Path, photo: bytes, place: str) -> None:
    write_test(root / place)
    (root / place / "TS2/imageSequence/img_000002.jpg").write_bytes(photo)
    samples = read("mpi_inf_3dhp", root)
    assert len(samples) == 6 * 3
    for number, sample in enumerate(samples):
        subject, at = divmod(number, 3)
        expect(sample, f"mpi_inf_3dhp/test/TS{subject + 1}_{at + 1:06d}", "mpi3dhp17", at, UNIVERSAL)
    assert isinstance(samples[4], Sample)
    assert load_image(samples[4].image).shape == (60, 80, 3)


def test_joints_outside_the_picture_are_known_but_not_labelled(root: Path) -> None:
    pixels, joints = poses("mpi3dhp17", 17, list(range(17)), 4)
    shift = (1085 - pixels[0, 7, 1]) / F[1]  # the left wrist just below a picture 1080 pixels high
    joints[..., 1] += shift * joints[..., 2]
    pixels = joints[..., :2] / joints[..., 2:] * F + C
    write_test(root, annot2=pixels[:, None], annot3=joints[:, None])
    samples = [sample for sample in read("mpi_inf_3dhp", root, stride=3) if isinstance(sample, Sample)]
    assert [sample.confidence[7] for sample in samples] == [1, 1, 1, 1, 0, 0]
    for sample in samples:
        assert sample.keypoints3d is not None
        assert np.isfinite(sample.keypoints3d[7]).all()


def test_what_mpi_inf_3dhp_lacks_is_said(root: Path) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"misses annotations/mpi_inf_3dhp_test_valid\.npz.*download https://vcai"):
        read("mpi_inf_3dhp", root)
    write_test(root)
    (root / "TS3/annot_data.mat").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match=r"TS3/annot_data\.mat' .*it is not HDF5"):
        read("mpi_inf_3dhp", root, subjects=["TS3"])
    (root / "TS3/annot_data.mat").unlink()
    with pytest.raises(UserError, match=r"misses TS3/annot_data\.mat in"):
        read("mpi_inf_3dhp", root)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"annot3": np.zeros((4, 1, 16, 3))}, "'annot3' .* must be any x 1 x 17 x 3, not 4 x 1 x 16 x 3"),
        ({"annot3": poses("mpi3dhp17", 17, list(range(17)), 4)[1][:, None] / 1000}, "can't be in millimetres"),
        ({"univ_annot3": np.zeros((4, 1, 28, 3))}, "'univ_annot3' .* must be 4 x 1 x 17 x 3, not 4 x 1 x 28 x 3"),
        ({"valid_frame": np.ones((3, 1))}, "'valid_frame' .* must be 4 numbers, not 3"),
    ],
)
def test_damaged_test_annotations_are_named(root: Path, changes: Any, complaint: str) -> None:
    write_test(root, **changes)
    with pytest.raises(UserError, match=complaint) as caught:
        read("mpi_inf_3dhp", root)
    assert "TS1/annot_data.mat" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"annot2": cells(np.zeros((1, 34)))}, "'annot2' .* must be any x 56, not 1 x 34"),
        ({"annot3": np.zeros((0, 0))}, "no annotations of camera 0"),
    ],
)
def test_damaged_training_annotations_are_named(root: Path, changes: Any, complaint: str) -> None:
    write_train(root, frames=1, **changes)
    with pytest.raises(UserError, match=complaint) as caught:
        read("mpi_inf_3dhp", root, split="train")
    assert "S1/Seq1/annot.mat" in str(caught.value)


def test_cameras_without_annotations_are_refused_alone(root: Path) -> None:
    joints = poses("mpi3dhp17", 28, MPI_KEPT)[1].reshape(FRAMES, -1)
    write_train(root, annot3=cells(joints)[:3])
    entries = read("mpi_inf_3dhp", root, split="train", stride=4)
    refused = [entry for entry in entries if isinstance(entry, tuple) and "no annotations of camera" in entry[1]]
    assert [name for name, _ in refused][:5] == [f"mpi_inf_3dhp/train/S1_Seq1_Cam{at}" for at in (4, 5, 6, 7, 8)]
    assert any(isinstance(entry, Sample) for entry in entries)


def test_a_camera_with_more_frames_in_2d_than_in_3d_is_refused_alone(root: Path) -> None:
    pixels, joints = (rows.reshape(FRAMES, -1) for rows in poses("mpi3dhp17", 28, MPI_KEPT))
    flat = cells(pixels)
    flat[1, 0] = pixels[:3]
    write_train(root, annot2=flat, annot3=cells(joints))
    entries = read("mpi_inf_3dhp", root, split="train", stride=4)
    assert entries[2] == ("mpi_inf_3dhp/train/S1_Seq1_Cam1", "3 frames in 2D, but 8 in 3D")
    assert [isinstance(entry, Sample) for entry in entries[:6]] == [True, True, False, True, True, True]


def test_partial_downloads_are_usable(root: Path) -> None:
    write_h36m(root)
    shutil.rmtree(root / "S11")
    with pytest.raises(UserError, match=r"misses S11/MyPoseFeatures.*option subjects"):
        read("human36m", root)
    assert len(read("human36m", root, subjects=["S9"])) == 2
    with pytest.raises(UserError, match="knows no S1 in this split; it has S9, S11"):
        read("human36m", root, subjects=["S1"])


def test_partial_downloads_of_mpi_inf_3dhp_are_usable(root: Path) -> None:
    write_test(root)
    shutil.rmtree(root / "TS4")
    with pytest.raises(UserError, match=r"misses TS4/annot_data\.mat.*option subjects"):
        read("mpi_inf_3dhp", root)
    assert {entry.id[18:21] for entry in read("mpi_inf_3dhp", root, subjects=["TS2"]) if isinstance(entry, Sample)} == {
        "TS2"
    }
