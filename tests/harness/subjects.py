"""What mutated input is tried on: a small data set for every reader, pictures, recipes, weights and pickles.

A subject writes valid files into a folder and reads them; the files that are mutated are named by patterns.
"""

import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch
from attrs import frozen
from safetensors.torch import save_file
from scipy import sparse

from posesyn_core import Sample
from posesyn_core.body.model import FREE_BODY, load_body
from posesyn_core.components import DatasetReader, Kind
from posesyn_core.contracts.entries import entries
from posesyn_core.errors import SampleError
from posesyn_core.files.checkpoints import read_metadata, read_state_dict
from posesyn_core.files.images import as_jpeg, decode_image, load_image, storage_of
from posesyn_core.files.reading import read_npz
from posesyn_core.files.unpickle import load_pickle
from posesyn_core.geometry.skeletons import COCO17
from posesyn_core.inference.labelling import with_labels
from posesyn_core.recipe import load_recipe
from posesyn_core.registry import Registry
from posesyn_poseaug.formats import H36M_ROWS
from tests import onnx_graphs
from tests.core.body.test_model import small_body
from tests.core.files.test_images import HEIC
from tests.harness.accounts import (
    Account,
    boxes,
    clips,
    counted,
    every_fifth,
    films,
    images_of,
    lines,
    listed,
    motions,
    nearest,
    pickled,
    posed_frames,
    poses_of,
    recordings,
    rows,
    scenes,
    shards,
    unless_whole,
    valid_frames,
)
from tests.plugins.posesyn_crowdnet import test_annotations as crowdnet
from tests.plugins.posesyn_crowdnet import test_writer as crowdnet_writer
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.readers import (
    test_agora,
    test_coco,
    test_emdb,
    test_folder,
    test_humman,
    test_jhmdb,
    test_lspet,
    test_mpii,
    test_muco,
    test_npz3d,
    test_panoptic,
    test_pw3d,
    test_recordings,
    test_skipose,
    test_video,
)
from tests.plugins.posesyn_hmr2 import test_annotations as hmr2
from tests.plugins.posesyn_poseaug import people
from tests.plugins.posesyn_poseaug.motions import write_motions

DECODED = 2
"""So many of a reader's samples have their pictures decoded."""


@frozen
class Tried:
    """What became of an attempt that ended as it should."""

    samples: int = 0
    rejected: int = 0
    unread: int = 0
    """Pictures of samples that can't be decoded."""
    told: tuple[str, ...] = ()
    """The ids of all samples and rejections."""


@frozen
class Subject:
    """A kind of input."""

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], Tried]
    files: tuple[str, ...]

    def paths(self, folder: Path) -> list[Path]:
        return sorted(path for pattern in self.files for path in folder.glob(pattern))


def _photo() -> bytes:
    y, x = np.mgrid[0:60, 0:80]
    return cv2.imencode(".jpg", np.stack([3 * x, 4 * y, x + y], -1).astype(np.uint8))[1].tobytes()


PHOTO = _photo()


@frozen
class Reader:
    """Reads a folder with a reader, as a run does; {} in an option stands for the folder."""

    name: str
    options: Mapping[str, Any]
    account: Account | None = None
    """Holds what is told against what the folder's files list; by default the reader says how many it has."""

    def made(self, folder: Path, **more: Any) -> DatasetReader:
        """The reader, with ``more`` options."""
        plain = {
            key: value.replace("{}", str(folder)) if isinstance(value, str) else value
            for key, value in {**self.options, **more}.items()
        }
        made: DatasetReader = registry().create(Kind.READER, self.name, plain, "dataset")
        return made

    def __call__(self, folder: Path) -> Tried:
        """AssertionError if an entry is neither a sample nor a rejection."""
        made = self.made(folder)
        tried = consume(entries(made))
        if self.account is not None:
            self.account(folder, tried.told)
        elif isinstance(made, Sized):
            counted(lambda _: len(made))(folder, tried.told)
        return tried


@cache
def registry() -> Registry:
    return Registry.discover()


def reader(name: str, account: Account | None = None, **options: Any) -> Reader:
    return Reader(name, options, account)


def consume(found: Iterable[Any]) -> Tried:
    samples = rejected = unread = 0
    told = []
    for entry in found:
        told.append(entry.id if isinstance(entry, Sample) else entry[0])
        if not isinstance(entry, Sample):
            rejected += 1
            json.dumps(entry).encode()
            continue
        samples += 1
        checked(entry)
        if samples <= DECODED:
            try:
                load_image(entry.image)
            except SampleError:
                unread += 1
    return Tried(samples, rejected, unread, tuple(told))


def checked(sample: Sample) -> None:
    """AssertionError for a sample with numbers that a run can't use, or names that a table can't store."""
    f"{sample.id}{sample.image if isinstance(sample.image, Path) else ''}".encode()
    assert np.isfinite(sample.box).all(), "box not finite"
    assert np.isfinite(sample.keypoints2d[sample.confidence > 0]).all(), "labelled joint not finite"
    assert np.isfinite(sample.confidence).all(), "confidence not finite"
    if sample.camera is not None:
        assert np.isfinite([sample.camera.focal_length, sample.camera.principal_point]).all(), "camera not finite"
    if sample.joints3d is not None:
        assert np.isfinite(sample.joints3d).all(), "3D joint not finite"
    if sample.smpl is not None:
        for part in (sample.smpl.global_orient, sample.smpl.body_pose, sample.smpl.betas, sample.smpl.transl):
            assert np.isfinite(part).all(), "body not finite"


def _pictures(folder: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    rows[:20] //= 4
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    forms = {
        "jpg": "JPEG",
        "png": "PNG",
        "webp": "WEBP",
        "tif": "TIFF",
        "avif": "AVIF",
        "bmp": "BMP",
        "jp2": "JPEG2000",
    }
    for suffix, form in forms.items():
        more = {} if form in ("BMP", "JPEG2000") else {"exif": exif}
        PIL.Image.fromarray(rows).save(folder / f"a.{suffix}", form, **more)
    PIL.Image.fromarray(rows).save(folder / "b.tif", "TIFF", compression="tiff_lzw")
    PIL.Image.fromarray(rows).save(folder / "b.jpg", "JPEG", progressive=True)
    PIL.Image.fromarray(rows[..., 0].astype(np.uint16) * 200).save(folder / "b.png", "PNG")
    PIL.Image.fromarray(rows).convert("P").save(folder / "c.png", "PNG")
    for name in ("upright", "turned"):
        shutil.copy(HEIC / f"{name}.heic", folder / f"{name}.heic")


def _each_picture(folder: Path) -> Tried:
    done = refused = 0
    for path in sorted(folder.iterdir()):
        for look in (storage_of, lambda file: decode_image(file.read_bytes()), lambda file: as_jpeg(file.read_bytes())):
            try:
                look(path)
                done += 1
            except SampleError:
                refused += 1
    return Tried(done, refused)


def _folder(root: Path) -> None:
    test_folder.write(root, {"joint_set": "lsp14", "people": [
        test_folder.person(camera={"focal_length": [500, 500], "principal_point": [40, 30]}),
        test_folder.person(image="a.jpg", box=[5, 5, 60, 50]), test_folder.person(image="a.jpg"),
    ]})  # fmt: skip
    (root / "beach").mkdir()
    for name in ("beach/001.jpg", "a.jpg"):
        (root / name).write_bytes(PHOTO)


def _coco(root: Path) -> None:
    people = [test_coco.annotation(number, **changes) for number, changes in enumerate([{}, {"bbox": None}, {}])]
    test_coco.write(root, people)
    path = root / "annotations/person_keypoints_train2017.json"
    document = json.loads(path.read_bytes())
    document["categories"] = [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}]
    path.write_text(json.dumps(document))
    (root / "train2017").mkdir()
    (root / "train2017/000000000007.jpg").write_bytes(PHOTO)


def _mpii(root: Path) -> None:
    test_mpii.write(root, [test_mpii.entry(), test_mpii.entry("b.jpg"), test_mpii.entry()])
    (root / "images").mkdir()
    (root / "images/a.jpg").write_bytes(PHOTO)


def _mpii_mat(root: Path) -> None:
    everything = [test_mpii.point(k, np.uint8(k != 3)) for k in range(16)]
    test_mpii.write_release(root / "mpii_human_pose_v1_u12_1.mat", [
        ("a.jpg", [test_mpii.person(everything)], 1, [1]),
        ("b.jpg", [test_mpii.person([test_mpii.point(9)]), test_mpii.person(everything)], 1, []),
    ])  # fmt: skip


def _jhmdb(root: Path) -> None:
    test_jhmdb.write(root, {"walk/a": test_jhmdb.clip(), "walk/b": test_jhmdb.clip()}, {"walk/a": 2, "walk/b": 2})
    (root / "Rename_Images/walk/a").mkdir(parents=True)
    (root / "Rename_Images/walk/a/00001.png").write_bytes(PHOTO)


def _jhmdb_json(root: Path) -> None:
    root.mkdir(exist_ok=True)
    flat = [value for k in range(15) for value in (50 + 5 * k, 40 + 3 * k, 2)]
    document = {"images": [{"id": 1, "file_name": "a/1.png"}, {"id": 2, "file_name": "a/2.png"}],
                "annotations": [{"id": 5 + at, "image_id": at, "keypoints": flat} for at in (1, 2)],
                "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
    (root / "a.json").write_text(json.dumps(document))


def _agora(root: Path) -> None:
    joints = test_agora.people((0, 0, 6), (1, 0.2, 8))
    table = test_agora.table(joints, [True, True])
    test_agora.write(
        root, PHOTO, pickle.dumps({key: np.array([*value, None], object)[:-1] for key, value in table.items()})
    )


def _smpl(folder: Path) -> None:
    (folder / "smpl").mkdir()
    for gender in ("FEMALE", "MALE", "NEUTRAL"):
        shutil.copy(FREE_BODY, folder / f"smpl/SMPL_{gender}.npz")


def _emdb(root: Path) -> None:
    path = test_emdb.write(root, test_emdb.sequence())
    (path.parent / "images/00000.jpg").write_bytes(PHOTO)
    _smpl(root)


def _humman(root: Path) -> None:
    test_humman.write(root, PHOTO, [test_humman.frame(0), test_humman.frame(1)])
    _smpl(root)


def _pw3d(root: Path) -> None:
    test_pw3d.write(root, test_pw3d.sequence())


def _panoptic(root: Path) -> None:
    test_panoptic.write(
        root, PHOTO, [[test_panoptic.person()], [test_panoptic.person(50), test_panoptic.person(-50, 1)]]
    )


def _skipose(root: Path) -> None:
    test_skipose.write(root, PHOTO, test_skipose.labels())


def _lspet(root: Path) -> None:
    test_lspet.write(root, test_lspet.joints(), PHOTO)


def _muco(root: Path) -> None:
    test_muco.write(root, [test_muco.person(1), test_muco.person(2, depth=3.0)])


def _h36m_npz(root: Path) -> None:
    test_npz3d.write(root, test_npz3d.rows(test_npz3d.TEST))


def _h36m(root: Path) -> None:
    test_recordings.write_h36m(root)


def _mpi_test(root: Path) -> None:
    test_recordings.write_test(root)


def _mpi_train(root: Path) -> None:
    test_recordings.write_train(root, 2)


def _video(root: Path) -> None:
    test_video.write_video(root / "clip.mp4")
    test_video.write_video(root / "film.avi")
    (root / "boxes.json").write_text(json.dumps({"clip.mp4/000000": [[1, 2, 40, 30]], "film.avi/000000": []}))


def _ucf101(root: Path) -> None:
    for name in ("v_Run_g01_c01", "v_Run_g01_c02"):
        test_video.write_video(root / f"UCF-101/Run/{name}.avi")
    (root / "ucfTrainTestlist").mkdir()
    (root / "ucfTrainTestlist/testlist01.txt").write_text("Run/v_Run_g01_c01.avi\r\nRun/v_Run_g01_c02.avi\r\n")


def _deepfashion(root: Path) -> None:
    _images(root / "Img/img")
    (root / "Img/img/boxes.json").rename(root / "boxes.json")


def _images(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "a.jpg").write_bytes(PHOTO)
    (root / "b.png").write_bytes(cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))[1].tobytes())
    (root / "boxes.json").write_text(json.dumps({"a.jpg": [[1, 2, 40, 30], [5, 5, 70, 50]], "b.png": []}))


def _hybrik(root: Path) -> None:
    rng = np.random.default_rng(0)
    joints = 1000 * (figure("smpl24") + np.array([0, 0, 4]))
    people = [{
        "id": at, "image_id": at, "bbox": [10, 5, 40, 50], "cam_param": {"f": [500, 500], "c": [40, 30]},
        "h36m_joints": np.zeros((17, 3)).tolist(), "smpl_joints": joints.tolist(),
        "betas": rng.normal(size=10).tolist(),
        "thetas": rng.normal(size=(24, 3)).tolist(), "root_coord": [0, 0, 4000],
        "angle_twist": {"angle": [0.1] * 23, "cos": [1.0] * 23, "sin": [0.1] * 23},
    } for at in range(3)]  # fmt: skip
    images = [{"id": at, "file_name": "a.jpg", "width": 80, "height": 60} for at in range(3)]
    (root / "images").mkdir(parents=True)
    (root / "images/a.jpg").write_bytes(PHOTO)
    (root / "a.json").write_text(json.dumps({"images": images, "annotations": people}))


def _crowdnet_mscoco(root: Path) -> None:
    crowdnet_writer.write("mscoco", root)


def _crowdnet_mpii(root: Path) -> None:
    crowdnet_writer.write("mpii", root)


def _crowdnet_muco(root: Path) -> None:
    crowdnet.muco(root)


def _crowdnet_human36m(root: Path) -> None:
    crowdnet.human36m(root)


def _hmr2_tar(root: Path) -> None:
    root.mkdir(exist_ok=True)
    masks = io.BytesIO()
    np.savez(masks, masks=np.zeros((1, 20, 30), bool))
    members = {}
    for at in range(3):
        members[f"a/{at:04d}.png"] = hmr2.PICTURE
        members[f"a/{at:04d}.data.pyd"] = pickle.dumps([hmr2.entry(), hmr2.entry(extra_info={"detection_npz_idx": 0})])
        members[f"a/{at:04d}.detection.npz"] = masks.getvalue()
    hmr2.shard(root / "s.tar", members)


def _hmr2_npz(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "0.png").write_bytes(hmr2.PICTURE)
    hmr2.evaluation_set(root / "e.npz", imgname=np.array(["0.png", "0.png"]), extra_info=None)


RECIPE = """name = "a"
seed = 3
[dataset]
name = "folder"
root = "data"
[estimator]
name = "spin"
weights = "starter"
device = "cpu"
noise_factor = 0.4
[score]
hard = 20
easy = 10
min_weight = 0.5
[filter]
name = "tpe_error"
tau = 120.0
[finetune]
steps = 10
batch_size = 4
learning_rate = 1e-5
ratio = 0.5
[[real]]
name = "coco"
root = "coco"
split = "val2017"
[[test]]
name = "3dpw"
root = "3dpw"
label = "wild"
"""


def _recipe(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE)


def recipe_checker() -> Callable[[Path], Tried]:
    def check(folder: Path) -> Tried:
        for kind, choice, where in load_recipe(folder / "recipe.toml").choices():
            registry().check(kind, choice.name, choice.options, where)
        return Tried(1)

    return check


def _weights(folder: Path) -> None:
    state = {f"layer{at}.weight": torch.randn(8, 4) for at in range(6)} | {"count": torch.tensor(3)}
    torch.save({"state_dict": state, "epoch": 3, "args": {"lr": 0.1}}, folder / "new.pt")
    torch.save({"state_dict": state}, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "ours.safetensors", {"body": "free"})


def _read_weights(folder: Path) -> Tried:
    done = 0
    for path in sorted(folder.iterdir()):
        done += len(read_state_dict(path, "state_dict"))
        read_metadata(path)
    return Tried(done)


def _bodies(folder: Path) -> None:
    np.savez(folder / "a.npz", **small_body())
    (folder / "b.pkl").write_bytes(pickle.dumps({**small_body(), "bs_style": "lbs"}, 2))


def _read_bodies(folder: Path) -> Tried:
    zero = torch.zeros(1, 3), torch.zeros(1, 23, 3), torch.zeros(1, 10)
    for path in sorted(folder.iterdir()):
        assert torch.isfinite(load_body(path).forward(*zero).vertices).all(), "vertices not finite"
    return Tried(2)


def _pickles(folder: Path) -> None:
    rng = np.random.default_rng(0)
    model = {"v_template": rng.normal(size=(20, 3)), "J_regressor": sparse.csc_matrix(rng.normal(size=(4, 20))),
             "f": np.arange(12).reshape(4, 3), "kintree_table": np.arange(8, dtype=np.uint32).reshape(2, 4),
             "bs_style": "lbs", "extra": [1, 2.5, None, b"x", {"a": (1, 2)}, np.float32(3)]}  # fmt: skip
    for protocol in (0, 2, 4, 5):
        (folder / f"p{protocol}.pkl").write_bytes(pickle.dumps(model, protocol))
    table = {"imgPath": np.array(["a.png", "b.png"], object), "isValid": np.array([[1, 0], [1, 1]], object)}
    (folder / "table.pkl").write_bytes(pickle.dumps(table, 4))


def _read_pickles(folder: Path) -> Tried:
    for path in sorted(folder.iterdir()):
        content = load_pickle(path)
        repr(content)
    return Tried(1)


def _arrays(folder: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(folder / "a.npz", pose=rng.normal(size=(5, 72)), names=np.array(["a", "bc"]), flag=np.array([True, False]))
    np.savez_compressed(folder / "b.npz", pose=np.zeros((50, 72), np.float32))


def _read_arrays(folder: Path) -> Tried:
    return Tried(sum(len(read_npz(path, "file", "arrays")) for path in sorted(folder.iterdir())))


def _captions(folder: Path) -> None:
    (folder / "c.csv").write_text('\ufeffid,caption\r\n"a/b-0","a man runs"\r\nc,"she, too"\r\n')
    (folder / "c.json").write_text(json.dumps({"a/b-0": "a man runs", "c": "x"}))


def _read_captions(folder: Path) -> Tried:
    from posesyn_datasets.captions import FileCaptions, FileCaptionsConfig

    return Tried(sum(len(FileCaptions(FileCaptionsConfig(folder / name)).captions) for name in ("c.csv", "c.json")))


PW3D = unless_whole(
    pickled(
        "sequenceFiles/test/*.pkl",
        lambda data: sum(int(np.count_nonzero(np.asarray(valid, float))) for valid in data["campose_valid"]),
    ),
    f"3dpw/test/{test_pw3d.NAME}",
)
EMDB = unless_whole(
    pickled("P0/*/*.pkl", lambda data: int(np.count_nonzero(data["good_frames_mask"]))),
    f"emdb/emdb1/P0_{test_emdb.NAME}",
)
AGORA = unless_whole(
    pickled(
        "validation_SMPL/SMPL/*.pkl",
        lambda table: sum(len(row) if isinstance(row, list | tuple | np.ndarray) else 1 for row in table["isValid"]),
    ),
    "agora/validation/validation_0_withjv",
)


H36M_CAMERAS = ("54138969", "55011271", "58860488", "60457274")
H36M_FILM = recordings("human36m/test/S9/S9_Directions_1.60457274/S9_Directions_1.60457274", frames=2)
VIDEOS = films("video", lambda _: ("clip.mp4", "film.avi"), 3)
MPI_FILMS = unless_whole(
    recordings(*(f"mpi_inf_3dhp/train/S1_Seq1_Cam{at}" for at in (0, 1, 2, 4, 5, 6, 7, 8)), frames=2),
    "mpi_inf_3dhp/train/S1_Seq1",
)


def _onnx_pose(folder: Path) -> None:
    for kind in ("simcc", "heatmaps"):
        onnx_graphs.keypoint_graph(folder / f"{kind}.onnx", kind)


def _onnx_detector(folder: Path) -> None:
    onnx_graphs.detector_graph(folder / "a.onnx", -1.0)


def _read_onnx_pose(folder: Path) -> Tried:
    person = np.array([10, 5, 60, 50], np.float32)
    sample = Sample("a/b/c", PHOTO, person, "coco17", np.zeros((17, 2)), np.zeros(17))
    done = refused = 0
    for name, kind in (("rtmpose", "simcc"), ("vitpose", "heatmaps")):
        made = registry().create(Kind.KEYPOINTS, name, {"model": f"{folder}/{kind}.onnx"}, "labeller")
        for found in with_labels([sample], made):
            if isinstance(found, Sample):
                checked(found)
                done += 1
            else:
                refused += 1
    assert done + refused == 2
    return Tried(done, refused)


def _read_onnx_detector(folder: Path) -> Tried:
    (folder / "a.jpg").write_bytes(PHOTO)
    detector = {"name": "rtmdet", "model": f"{folder}/a.onnx"}
    made = registry().create(Kind.READER, "images", {"root": str(folder), "detector": detector}, "dataset")
    return consume(entries(made))


def _poses(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    joints = people.poses(5)
    np.savez(folder / "a.npz", pose3d=joints, pose2d=joints[..., :2] / joints[..., 2:])


def _poses_spin(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    names = np.array([f"mpi_inf_3dhp_test_set/TS{at}/imageSequence/img_00000{at}.jpg" for at in (1, 5, 6)])
    joints = np.concatenate([rng.normal(size=(3, 24, 3)), np.ones((3, 24, 1))], -1)
    pixels = np.concatenate([rng.uniform(0, 900, (3, 24, 2)), np.ones((3, 24, 1))], -1)
    np.savez(folder / "a.npz", imgname=names, S=joints, part=pixels)


def _mocap(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_motions(folder / "a.npz", segments=2)


def _h36m_poses(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    solid, flat = np.zeros((6, 32, 3), np.float32), rng.uniform(0, 900, (6, 17, 2)).astype(np.float32)
    solid[:, list(H36M_ROWS)] = people.poses(6)
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array({"S9": {"Walking 1": solid, "Eating": solid}}, object))
    np.savez(
        folder / "data_2d_h36m_gt.npz",
        positions_2d=np.array({"S9": {"Walking 1": [flat] * 4, "Eating": [flat] * 4}}, object),
    )


def subjects() -> Iterator[Subject]:
    """All of them; made where they are used, because some know the installed plugins."""
    yield Subject("picture", _pictures, _each_picture, ("*",))
    yield Subject("recipe", _recipe, recipe_checker(), ("recipe.toml",))
    yield Subject("weights", _weights, _read_weights, ("*",))
    yield Subject("body", _bodies, _read_bodies, ("*",))
    yield Subject("pickle", _pickles, _read_pickles, ("*",))
    yield Subject("arrays", _arrays, _read_arrays, ("*",))
    yield Subject("captions", _captions, _read_captions, ("*",))
    yield Subject(
        "folder",
        _folder,
        reader("folder", listed("keypoints.json", "people"), root="{}"),
        ("keypoints.json", "beach/001.jpg"),
    )
    yield Subject(
        "coco",
        _coco,
        reader("coco", listed("annotations/*.json", "annotations"), root="{}"),
        ("annotations/*", "train2017/*"),
    )
    yield Subject("mpii", _mpii, reader("mpii", listed("annot/*.json"), root="{}", box="scale"), ("annot/*",))
    yield Subject("mpii_mat", _mpii_mat, reader("mpii", root="{}"), ("*.mat",))
    yield Subject("jhmdb", _jhmdb, reader("jhmdb", clips, root="{}"), ("joint_positions/walk/a/*", "splits/*"))
    yield Subject(
        "jhmdb_json",
        _jhmdb_json,
        reader("jhmdb", listed("a.json", "annotations"), root="{}", annotations="a.json"),
        ("a.json",),
    )
    yield Subject("agora", _agora, reader("agora", AGORA, root="{}"), ("validation_SMPL/SMPL/*",))
    yield Subject("emdb", _emdb, reader("emdb", EMDB, root="{}", smpl="{}/smpl"), ("P0/*/*.pkl",))
    yield Subject("emdb_flat", _emdb, reader("emdb", EMDB, root="{}"), ("P0/*/*.pkl",))
    yield Subject(
        "humman",
        _humman,
        reader("humman", unless_whole(posed_frames, f"humman/{test_humman.NAME}"), root="{}", smpl="{}/smpl"),
        ("p*/cameras.json", "p*/smpl_params/*"),
    )
    yield Subject("3dpw", _pw3d, reader("3dpw", PW3D, root="{}"), ("sequenceFiles/test/*",))
    yield Subject("3dpw_detected", _pw3d, reader("3dpw", PW3D, root="{}", box="detected"), ("sequenceFiles/test/*",))
    yield Subject(
        "panoptic",
        _panoptic,
        reader("panoptic", unless_whole(scenes, f"panoptic/{test_panoptic.NAME}"), root="{}", stride=1),
        ("1*/*.json", "1*/hdPose3d_stage1_coco19/*"),
    )
    yield Subject("skipose", _skipose, reader("skipose", root="{}"), ("test/labels.h5",))
    yield Subject("lspet", _lspet, reader("lspet", root="{}"), ("joints.mat",))
    yield Subject("muco", _muco, reader("muco", listed("*.json", "annotations"), root="{}"), ("MuCo-3DHP.json",))
    yield Subject(
        "muco_nearest",
        _muco,
        reader("muco", nearest, root="{}", nearest=True),
        ("MuCo-3DHP.json",),
    )
    yield Subject(
        "human36m_npz", _h36m_npz, reader("human36m", root="{}"), ("annotation_body3d/*.pkl", "annotation_body3d/*/*")
    )
    yield Subject("human36m", _h36m, reader("human36m", H36M_FILM, root="{}", subjects=["S9"]),
                  ("S9/MyPoseFeatures/*/Directions 1.60457274.cdf", "S9/Videos/Directions 1.60457274.mp4"))  # fmt: skip
    yield Subject(
        "mpi_inf_3dhp",
        _mpi_test,
        reader(
            "mpi_inf_3dhp", valid_frames("mpi_inf_3dhp/test/TS1", "TS1/annot_data.mat"), root="{}", subjects=["TS1"]
        ),
        ("TS1/annot_data.mat",),
    )
    yield Subject(
        "mpi_inf_3dhp_train",
        _mpi_train,
        reader("mpi_inf_3dhp", MPI_FILMS, root="{}", split="train", subjects=["S1"]),
        ("S1/Seq1/annot.mat", "S1/Seq1/imageSequence/video_0.avi"),
    )
    yield Subject("video", _video, reader("video", VIDEOS, root="{}", stride=3), ("clip.mp4", "film.avi"))
    yield Subject(
        "video_boxes", _video, reader("video", VIDEOS, root="{}", stride=3, boxes="{}/boxes.json"), ("boxes.json",)
    )
    yield Subject(
        "ucf101",
        _ucf101,
        reader("ucf101", films("ucf101", lines("ucf*/*.txt"), 3), root="{}", stride=3, split="testlist01"),
        ("UCF-101/*/*.avi", "ucfTrainTestlist/*.txt"),
    )
    yield Subject(
        "deepfashion",
        _deepfashion,
        reader("deepfashion", boxes("deepfashion", ("a.jpg", "b.png")), root="{}", boxes="{}/boxes.json"),
        ("boxes.json", "Img/img/*"),
    )
    yield Subject("images", _images, reader("images", root="{}"), ("a.jpg", "b.png"))
    yield Subject(
        "images_boxes",
        _images,
        reader("images", boxes("images", ("a.jpg", "b.png")), root="{}", boxes="{}/boxes.json"),
        ("boxes.json",),
    )
    yield Subject(
        "hybrik",
        _hybrik,
        reader("hybrik", listed("a.json", "annotations"), annotations="{}/a.json", body="free"),
        ("a.json",),
    )
    for part, write, account in (
        ("mscoco", _crowdnet_mscoco, listed("MSCOCO/annotations/person*.json", "annotations")),
        ("mpii", _crowdnet_mpii, listed("MPII/data/annotations/train.json", "annotations")),
        ("muco", _crowdnet_muco, listed("MuCo/data/MuCo-3DHP.json", "annotations", of=images_of)),
        ("human36m", _crowdnet_human36m, every_fifth),
    ):
        yield Subject(f"crowdnet_{part}", write, reader("crowdnet", account, root="{}", part=part), ("**/*.json",))
    yield Subject("onnx_pose", _onnx_pose, _read_onnx_pose, ("*.onnx",))
    yield Subject("onnx_detector", _onnx_detector, _read_onnx_detector, ("*.onnx",))
    yield Subject("poses", _poses, reader("poses", rows("a.npz", "pose3d"), file="{}/a.npz"), ("a.npz",))
    yield Subject("poses_spin", _poses_spin, reader("poses", rows("a.npz", "S"), file="{}/a.npz"), ("a.npz",))
    yield Subject(
        "mocap", _mocap, reader("mocap", motions(2, 10), motions="{}/a.npz", cameras=2, stride=10), ("*.npz",)
    )
    yield Subject(
        "h36m_poses",
        _h36m_poses,
        reader("h36m_poses", poses_of("S9", H36M_CAMERAS), root="{}", keypoints="gt", subjects=["S9"]),
        ("*.npz",),
    )
    yield Subject("hmr2_tar", _hmr2_tar, reader("hmr2", shards, path="{}/s.tar"), ("s.tar",))
    yield Subject("hmr2_npz", _hmr2_npz, reader("hmr2", rows("e.npz", "imgname"), path="{}/e.npz"), ("e.npz",))


__all__ = ["Subject", "Tried", "subjects"]
