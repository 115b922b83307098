"""The rendered world: exact labels, the same images whatever the order of work, nothing torn."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from posesyn_core.body.model import load_body
from posesyn_core.body.parts import PART_NAMES
from posesyn_core.components import DatasetReader
from posesyn_core.errors import UserError
from posesyn_core.files.images import load_image
from posesyn_core.geometry.cameras import project
from posesyn_starter.appearance import Figure, Layer, draw_look, layers
from posesyn_starter.config import WorldConfig
from posesyn_starter.plugin import register_readers
from posesyn_starter.world import WorldReader, draw_view, place_people, render_person


def reader(folder, **options) -> WorldReader:
    options = {"count": 5, "image_size": 96, "workers": 1, "folder": str(folder), **options}
    return WorldReader(WorldConfig(**options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def wild(folder):
    return list(reader(folder, part="wild").samples())


def test_the_plugin_offers_it():
    (component,) = register_readers()
    made = component.factory(component.config(folder="/tmp/posesyn-world-test"))
    assert component.name == "world" and isinstance(made, DatasetReader)


def test_labels_are_exact(wild):
    body = load_body()
    for sample in wild:
        smpl, camera = sample.smpl, sample.camera
        arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
        out = body(*(torch.tensor(array)[None] for array in arrays))
        joints = out.joints3d[0].numpy()
        assert np.abs(joints - joints[:1] - sample.joints3d).max() < 1e-5
        assert np.abs(project(joints, camera.focal_length, camera.principal_point) - sample.keypoints2d).max() < 1e-3
        pixels = project(out.vertices[0].numpy(), camera.focal_length, camera.principal_point)
        box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        assert np.abs(np.clip(box, 0, 95) - sample.box).max() < 1e-3
        assert load_image(sample.image).shape == (96, 96, 3) and sample.joint_set == "smpl24"


def test_ids_are_stable(wild):
    assert [sample.id for sample in wild] == [f"world/wild-train/{i:06d}" for i in range(5)]


def test_images_depend_on_seed_split_and_number_alone(wild, tmp_path):
    fewer = list(reader(tmp_path, part="wild", count=3, workers=3).samples())
    for one, other in zip(wild, fewer, strict=False):
        assert one.image.read_bytes() == other.image.read_bytes()
        assert np.array_equal(one.keypoints2d, other.keypoints2d)
    for change in ({"seed": 1}, {"split": "test"}):
        changed = next(reader(tmp_path, part="wild", count=1, **change).samples())
        assert changed.image.read_bytes() != wild[0].image.read_bytes()


def test_what_is_there_is_not_drawn_again(folder, wild):
    wild[3].image.unlink()
    others = {sample.id: sample.image.stat().st_mtime_ns for sample in wild if sample is not wild[3]}
    again = list(reader(folder, part="wild").samples())
    assert again[3].image.exists()
    assert {s.id: s.image.stat().st_mtime_ns for s in again if s.id != wild[3].id} == others


def test_two_readers_may_draw_the_same_at_once(tmp_path, wild):
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda _: list(reader(tmp_path, part="wild", workers=2).samples()), range(2))
        for samples in both:
            assert [s.image.read_bytes() for s in samples] == [s.image.read_bytes() for s in wild]


def test_two_dimensional_labels_withhold_the_truth(folder, wild):
    mined = list(reader(folder, part="wild", labels="2d", noise=1.0).samples())
    errors = np.stack([a.keypoints2d - b.keypoints2d for a, b in zip(mined, wild, strict=True)])
    assert all(s.joints3d is None and s.smpl is None and s.camera is None for s in mined)
    assert 0.8 < errors.std() < 1.2
    assert [s.image for s in mined] == [s.image for s in wild]


def test_people_stand_on_the_floor_and_fit_the_image():
    body, count = load_body(), 24
    zeros = np.zeros((count, 3), np.float32), np.zeros((count, 23, 3), np.float32), np.zeros((count, 10), np.float32)
    lift = np.linspace(0, 0.5, count).astype(np.float32)
    people = place_people(body, *zeros, lift, "wild", 100, np.random.default_rng(0))
    height = np.einsum("nvc,nc->nv", people.vertices - people.ground[:, None], people.up).min(axis=1)
    assert np.abs(height - lift).max() < 1e-3
    pixels = project(people.vertices, people.focal_length, people.principal_point)
    assert pixels.min() > -0.5 and pixels.max() < 99.5
    assert (np.ptp(pixels, axis=1).max(axis=1) > 45).all()
    assert (people.joints3d[:, 15, 1] < people.joints3d[:, 0, 1]).all()  # y is down: heads are above


def test_the_silhouette_covers_the_joints():
    body = load_body()
    figure, generator = Figure.of(body), np.random.default_rng(2)
    rest = np.zeros((4, 3), np.float32), np.zeros((4, 23, 3), np.float32), np.zeros((4, 10), np.float32)
    people = place_people(body, *rest, np.zeros(4, np.float32), "lab", 128, generator)
    for k in range(4):
        view, background = draw_view(people, k, generator), np.zeros((128, 128, 3), np.uint8)
        image = render_person(figure, people.vertices[k], draw_look(figure, generator), view, background)
        pixels = project(people.joints3d[k], view.camera.focal_length, view.camera.principal_point)
        column, row = np.rint(pixels).astype(int).T
        assert (image[row, column].sum(axis=-1) > 0).all()


def test_clothes_cover_what_they_should():
    figure = Figure.of(load_body())
    for seed in range(20):
        look = draw_look(figure, np.random.default_rng(seed))
        layer = layers(look, figure.rest, figure.vertex_part)
        part = np.array(PART_NAMES)[figure.vertex_part]
        assert (layer[part == "scalp"] == Layer.HAIR).all()
        assert set(layer[part == "left_hand"]) <= {Layer.SKIN, Layer.SHIRT}
        assert Layer.TROUSERS in layer and Layer.SHIRT in layer
        assert not {Layer.SHIRT, Layer.HAIR} & set(layer[part == "left_lower_leg"])


def write_motions(path, **change):
    rng = np.random.default_rng(0)
    joints = np.repeat(load_body().rest_joints(torch.zeros(1, 10))[:, :22].numpy(), 12, axis=0)
    joints += rng.normal(0, 0.01, joints.shape)
    arrays = {
        "joints": joints.astype(np.float32),
        "offsets": np.array([0, 5, 12]),
        "clip": np.array(["walk", "jump"]),
        "domain": np.array(["lab", "wild"]),
    }
    np.savez(path, **{**arrays, **change})


def test_poses_can_come_from_motions(tmp_path):
    write_motions(tmp_path / "m.npz")
    (tmp_path / "clips.txt").write_text("jump\nhop\n")
    options = {"motions": str(tmp_path / "m.npz"), "count": 2}
    posed = list(reader(tmp_path, **options).samples())
    arms = posed[0].smpl.body_pose[[15, 16]]  # the motion is a T-pose; a procedural arm hangs
    assert np.abs(arms[:, 1:]).max() < 0.5
    chosen = reader(tmp_path, **options, clips=str(tmp_path / "clips.txt"))
    assert len(chosen.motion) == 7 and chosen.folder != reader(tmp_path, **options).folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count"),
        ({"motions": "nowhere.npz"}, "nowhere.npz"),
        ({"motions": "MADE", "domain": "lab", "clips": "CLIPS"}, "no motion"),
        ({"motions": "CLIPS"}, "expected an npz"),
        ({"folder": "CLIPS/below"}, "cache"),
    ],
)
def test_mistakes_are_named(tmp_path, options, message):
    write_motions(tmp_path / "m.npz")
    (tmp_path / "clips.txt").write_text("jump\n")
    made = {"MADE": str(tmp_path / "m.npz"), "CLIPS": str(tmp_path / "clips.txt")}
    for word, path in made.items():
        options = {
            key: value.replace(word, path) if isinstance(value, str) else value for key, value in options.items()
        }
    with pytest.raises(UserError, match=message):
        reader(options.pop("folder", tmp_path), **options)
