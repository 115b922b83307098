"""Stand-ins for everything that the paper's recipes name: small, random, in the official layouts, below one folder.

They have what the real files have: checkpoints with a body of their own, folders nested as they unpack.
"""

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch

from posesyn_champ.weights import random_networks
from posesyn_core.body.model import FREE_BODY
from posesyn_core.files.images import encode_jpeg
from posesyn_core.registry import Registry
from posesyn_t2mgpt.representation import CONTACTS
from posesyn_t2mgpt.weights import load_weights
from tests.core.pipeline.test_bodies import checkpoint
from tests.plugins.posesyn_champ.conftest import save_folder
from tests.plugins.posesyn_datasets.readers import test_emdb, test_humman, test_jhmdb, test_lspet, test_panoptic
from tests.plugins.posesyn_datasets.readers import test_pw3d as test_3dpw
from tests.plugins.posesyn_hmr2.test_annotations import entry, shard
from tests.plugins.posesyn_llava.tiny import save_original
from tests.plugins.posesyn_t2mgpt.test_text import save_clip

PHOTO = encode_jpeg(cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8), (1920, 1920)))


def write_smpl(folder: Path) -> Path:
    """SMPL's three files: the neutral one a body of its own, those of women and men the free body."""
    with np.load(FREE_BODY) as file:
        arrays = {name: file[name] for name in ("v_template", "J_regressor", "weights", "f", "kintree_table")}
        arrays["shapedirs"] = np.roll(file["shapedirs"], 1, axis=-1)
    arrays["v_template"] = arrays["v_template"] * np.float32([1.06, 0.94, 1.1])
    arrays["posedirs"] = 1e-3 * np.random.default_rng(1).normal(size=(*arrays["v_template"].shape, 207))
    folder.mkdir(parents=True)
    path = folder / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(arrays))
    for gender in ("FEMALE", "MALE"):
        shutil.copy(FREE_BODY, folder / f"SMPL_{gender}.npz")
    vertices = len(arrays["v_template"])
    np.save(folder.parent / "J_regressor_h36m.npy", np.random.default_rng(2).dirichlet(np.ones(vertices), 17))
    return path


def write_checkpoint(name: str, path: Path, smpl: Path) -> None:
    """An estimator's untrained checkpoint that brings SMPL's body, at its published place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(checkpoint(name, smpl, path.parent, Registry.discover())["weights"])
    made.rename(path)


def write_t2mgpt(clone: Path) -> None:
    """The starter's networks where T2M-GPT's scripts unpack the published ones, with statistics of their size."""
    starter = load_weights("starter")
    statistics, vqvae, transformer = starter.statistics(), starter.vqvae(), starter.transformer()
    mean, std, state = statistics.mean.clone(), statistics.std.clone(), dict(vqvae.state_dict())
    factor = (std[CONTACTS] / 0.05).float()
    std[CONTACTS] = 0.05
    first, last = "vqvae.encoder.model.0.weight", max(name for name in state if name.startswith("vqvae.decoder.model."))
    last = last.rpartition(".")[0]
    state[first][:, CONTACTS] /= factor[:, None]
    state[f"{last}.weight"][CONTACTS] *= factor[:, None, None]
    state[f"{last}.bias"][CONTACTS] *= factor
    for place, content in {
        "pretrained/VQVAE/net_last.pth": {"net": state},
        "pretrained/VQTransformer_corruption05/net_best_fid.pth": {"trans": transformer.state_dict()},
        "pretrained/VQVAE_KIT/net_last.pth": {"net": {}},
    }.items():
        (clone / place).parent.mkdir(parents=True)
        torch.save(content, clone / place)
    meta = clone / "checkpoints/t2m/VQVAEV3_CB1024_CMT_H1024_NRES3/meta"
    meta.mkdir(parents=True)
    np.save(meta / "mean.npy", mean.numpy())
    np.save(meta / "std.npy", std.numpy())


def write_mpii(root: Path, shared: Path) -> None:
    """MPII's real five pictures with HRNet's annotations."""
    source = shared / "data" / "images" / "mpii"
    (root / "images").mkdir(parents=True)
    (root / "annot").mkdir()
    for picture in source.glob("*.jpg"):
        shutil.copy(picture, root / "images")
    shutil.copy(source / "test_mpii.json", root / "annot" / "train.json")


def write_test_sets(data: Path) -> None:
    """3DPW, EMDB, both recordings of CMU Panoptic, HuMMan, LSPET, JHMDB."""
    pw3d = test_3dpw.write(data / "3dpw", test_3dpw.sequence(frames=1, actors=2))
    _photos(data / "3dpw/imageFiles" / pw3d.stem, "image_{:05d}.jpg", 1)
    emdb = test_emdb.write(data / "emdb", test_emdb.sequence(frames=2))
    _photos(emdb.parent / "images", "{:05d}.jpg", 2)
    for name in ("171204_pose1", "171026_pose1"):
        test_panoptic.write(data / "once", PHOTO, [[test_panoptic.person()]])
        (data / "panoptic").mkdir(exist_ok=True)
        made = data / "once" / test_panoptic.NAME
        calibration = made / f"calibration_{test_panoptic.NAME}.json"
        calibration.rename(made / f"calibration_{name}.json")
        made.rename(data / "panoptic" / name)
    test_humman.write(data / "humman", PHOTO, [test_humman.frame(0)])
    test_lspet.write(data / "lspet", 20 * test_lspet.joints(), PHOTO)
    test_jhmdb.write(data / "jhmdb", {"catch/a": test_jhmdb.clip(2)}, {"catch/a": 2})
    _photos(data / "jhmdb/Rename_Images/catch/a", "{:05d}.png", 3)


def _photos(folder: Path, name: str, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / name.format(number)).write_bytes(PHOTO)


def write_hmr2_training(folder: Path, names: list[str]) -> None:
    """4D-Humans' shards by the names of its data sets, and the discriminator's motion capture."""
    rng = np.random.default_rng(3)
    for name in names:
        (folder / "dataset_tars" / name).mkdir(parents=True)
        people = [entry(keypoints_2d=np.column_stack([rng.uniform(0, 400, (44, 2)), np.ones(44)]).astype(np.float32))]
        people[0] |= {"center": np.float32([320, 240]), "scale": np.float32([1, 1.5])}
        members = {"a/0001.jpg": PHOTO, "a/0001.data.pyd": pickle.dumps(people)}
        shard(folder / "dataset_tars" / name / "000000.tar", members)
    np.savez(folder / "cmu_mocap.npz", body_pose=0.2 * rng.standard_normal((5, 72)), betas=rng.standard_normal((5, 10)))


def write_generators(data: Path) -> None:
    """LLaVA in the layout of its own code, T2M-GPT with CLIP, Champ."""
    save_original(data / "llava")
    save_clip(data / "clip")
    write_t2mgpt(data / "T2M-GPT")
    save_folder(random_networks(), data / "champ")


def write_hybrik_training(data: Path, shared: Path) -> None:
    """The parity pack's file in Human3.6M's style, COCO's and MPI-INF-3DHP's real pictures."""
    sample = json.loads((shared / "parity/hybrik/sample_h36m_style.json").read_text())
    place = data / "hybrik/h36m/annotations/Sample_5_train_Human36M_smpl_leaf_twist_protocol_2.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(sample))
    for image in sample["images"]:
        picture = data / "hybrik/h36m/images" / image["file_name"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(encode_jpeg(np.full((image["height"], image["width"], 3), 99, np.uint8)))
    real = shared / "data/images"
    for source, target in {
        "coco/test_coco.json": "coco/annotations/person_keypoints_train2017.json",
        "mpi_inf_3dhp/test_3dhp_train.npz": "mpi_inf_3dhp/annotations/mpi_inf_3dhp_train.npz",
        "mpi_inf_3dhp/cameras_train.pkl": "mpi_inf_3dhp/annotations/cameras_train.pkl",
    }.items():
        (data / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / source, data / target)
    for name, folder in (("coco", "coco/train2017"), ("mpi_inf_3dhp", "mpi_inf_3dhp/images")):
        (data / folder).mkdir(parents=True)
        for picture in (real / name).glob("*.jpg"):
            shutil.copy(picture, data / folder)


def write_crowdnet_training(root: Path, shared: Path) -> None:
    """3DCrowdNet's data folder with the parity pack's few people of each set."""
    pack = shared / "parity/crowdnet"
    for name, content in json.loads((pack / "annotations.json").read_text()).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    with np.load(pack / "data_io.npz") as arrays:
        for name in (name for name in arrays.files if name.startswith("image.")):
            path = root / name.removeprefix("image.")
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), arrays[name][..., ::-1])
