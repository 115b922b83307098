"""Checkpoints of A-NeRF: official files, ours, and broken ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posesyn_anerf.field import Field, FieldSizes
from posesyn_anerf.posing import PoseLayer, from_legacy, pose
from posesyn_anerf.weights import FieldWeights, Person, load_field, random_field, write_field
from posesyn_core import UserError
from posesyn_core.files.checkpoints import write_state_dict
from posesyn_core.geometry.rotations import axis_angle_to_matrix

SIZES = FieldSizes(depth=4, width=8, skip=1, point_frequencies=2, view_frequencies=1)


def content_of(field: Field, layer: PoseLayer | None = None) -> dict[str, Any]:
    """A checkpoint as the official code writes it."""
    parts = ("network_fn", "network_fine", "embed", "embeddirs")
    content: dict[str, Any] = {f"{part}_state_dict": getattr(field, part).state_dict() for part in parts}
    content |= {"global_step": 7, "optimizer_state_dict": {"state": {}}, "embedbones_state_dict": {}}
    content |= {"poseopt_layer_state_dict": None if layer is None else layer.state_dict(), "poseopt_anchors": None}
    return content


def saved(path: Path, edit: Callable[[dict[str, Any]], None] = lambda content: None, sizes: FieldSizes = SIZES) -> Path:
    content = content_of(random_field(sizes))
    edit(content)
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "sizes",
    [
        SIZES,
        FieldSizes(depth=6, width=8, skip=3, view_frequencies=0),
        FieldSizes(depth=4, width=8, skip=2, frames=3, codes=5, point_frequencies=1),
        FieldSizes(depth=4, width=8, skip=1, single=True),
    ],
)
def test_sizes_are_seen_in_the_file(tmp_path: Path, sizes: FieldSizes) -> None:
    loaded = load_field(str(saved(tmp_path / "150000.tar", sizes=sizes)))
    assert loaded.field.sizes == sizes and loaded.steps == 7
    expected = random_field(sizes).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.field.state_dict().items())


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return edit


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (drop("embed_state_dict"), r"2 missing \(embed.cutoff_dist, embed.tau\)"),
        (drop("network_fine_state_dict"), "missing .network_fine"),
        (drop("network_fn_state_dict", "rgb_linear.weight"), r"1 missing \(network_fn.rgb_linear.weight\)"),
        (drop("embeddirs_state_dict", "tau"), r"1 missing \(embeddirs.tau\)"),
        (lambda content: content["network_fn_state_dict"].update(extra=torch.zeros(1)), r"1 unexpected"),
        (lambda content: content["embed_state_dict"].update(tau=torch.tensor(float("nan"))), "with NaN"),
        (
            lambda content: content["network_fn_state_dict"].update({"alpha_linear.bias": torch.zeros(2)}),
            "another shape",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path: Path, edit: Callable[[dict[str, Any]], None], reason: str) -> None:
    path = saved(tmp_path / "x.tar", edit)
    with pytest.raises(UserError, match=reason):
        load_field(str(path))
    assert not FieldWeights().check(path).fits


@pytest.mark.parametrize("kind", ["absent", "text", "truncated", "other", "empty"])
def test_broken_files_are_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.tar"
    if kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "truncated":
        path.write_bytes(saved(tmp_path / "whole.tar").read_bytes()[:500])
    elif kind == "other":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, path)
    elif kind == "empty":
        torch.save([], path)
    with pytest.raises(UserError) as error:
        load_field(str(path))
    assert "\n" not in str(error.value) and "x.tar" in str(error.value)


def test_refined_poses_come_along_and_incomplete_ones_are_refused(tmp_path: Path) -> None:
    layer = PoseLayer(torch.rand(2, 3), torch.rand(2, 24, 6), torch.rand(1, 24, 3))
    content = content_of(random_field(SIZES), layer)
    torch.save(content, tmp_path / "x.tar")
    loaded = load_field(str(tmp_path / "x.tar"))
    assert loaded.poses is not None and torch.equal(loaded.poses.bones, layer.bones)
    np.testing.assert_array_equal(loaded.person.rest_pose, layer.rest_pose[0].numpy())
    del content["poseopt_layer_state_dict"]["pelvis"]
    torch.save(content, tmp_path / "x.tar")
    with pytest.raises(UserError, match="poseopt_layer_state_dict lacks pelvis"):
        load_field(str(tmp_path / "x.tar"))


def test_old_axes_are_the_same_people_upside_down() -> None:
    """The old world's y points up and its z the other way; a person keeps the shape."""
    draw = torch.Generator().manual_seed(0)
    pelvis, rest = torch.randn(3, 3, generator=draw).double(), torch.randn(24, 3, generator=draw).double()
    rest = rest - rest[:1]
    bones = 0.5 * torch.randn(3, 24, 3, generator=draw).double()
    before = pose(axis_angle_to_matrix(bones), rest, pelvis)[..., :3, 3]
    pelvis, rest, bones = from_legacy(pelvis, rest, bones)
    after = pose(axis_angle_to_matrix(bones), rest, pelvis)[..., :3, 3]
    torch.testing.assert_close(after, before * torch.tensor([1.0, -1.0, -1.0]).double(), atol=1e-6, rtol=1e-6)


def test_ours_keep_their_person_in_half_precision(tmp_path: Path) -> None:
    person = Person(
        np.ones((24, 3), np.float32), 1.5, np.zeros(10, np.float32), "free", 40, 8, np.full(24, 0.2, np.float32)
    )
    write_field(random_field(SIZES), person, tmp_path / "x.safetensors", half=True)
    loaded = load_field(str(tmp_path / "x.safetensors"))
    assert loaded.person.to_json() == person.to_json()
    assert all(value.dtype == torch.float32 for value in loaded.field.state_dict().values())


def test_a_person_that_is_no_person_is_refused(tmp_path: Path) -> None:
    write_field(random_field(SIZES), Person(), tmp_path / "x.safetensors")
    state = {f"{part}_state_dict.{name}": value for part in ("network_fn", "network_fine", "embed", "embeddirs")
             for name, value in getattr(random_field(SIZES), part).state_dict().items()}  # fmt: skip
    write_state_dict(state, tmp_path / "x.safetensors", {"field": '{"unit": "metre", "height": 2}'})
    with pytest.raises(UserError, match="describe their person wrongly"):
        load_field(str(tmp_path / "x.safetensors"))


def test_conversion_keeps_every_number(tmp_path: Path) -> None:
    source, target = saved(tmp_path / "x.tar"), tmp_path / "y.safetensors"
    FieldWeights().convert(source, target)
    before, after = (load_field(str(path)).field.state_dict() for path in (source, target))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with pytest.raises(UserError, match="are not those of A-NeRF"):
        FieldWeights().convert(saved(tmp_path / "z.tar", drop("embed_state_dict")), target)
