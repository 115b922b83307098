"""Eq. 1-3: the error of a sample, and the choice of the hardest and easiest."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.geometry.skeletons import joint_set
from posesyn_core.method import eem

seeds = st.integers(0, 2**32 - 1)
MPII = joint_set("mpii16")
WEIGHTS = eem.joint_weights("mpii16")
ROOT = MPII.joints.index("pelvis")


def people(seed: int, count: int = 5, joints: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 256, (count, joints, 2)), rng.uniform(0, 256, (count, joints, 2))


def test_equation_1_by_hand() -> None:
    gt = np.array([[[100, 100], [110, 100], [100, 150]]])
    pred = np.array([[[0, 0], [13, 4], [0, 60]]])
    errors, distances = eem.projection_error(pred, gt, [9, 1, 0.5], root=0)
    assert distances.tolist() == [[0, 5, 10]]
    assert errors.tolist() == [1 * 5 + 0.5 * 10]


def test_weights_are_those_of_table_6() -> None:
    by_name = dict(zip(MPII.joints, WEIGHTS, strict=True))
    assert by_name["left_ankle"] == by_name["right_wrist"] == 1
    assert by_name["left_elbow"] == by_name["right_knee"] == 0.5
    assert by_name["left_hip"] == by_name["right_shoulder"] == 0.25
    assert by_name["pelvis"] == by_name["thorax"] == by_name["head_top"] == 0
    assert eem.joint_weights("openpose25")[joint_set("openpose25").joints.index("mid_hip")] == 0
    for name in ("coco17", "smpl24", "lsp14", "jhmdb15", "h36m17"):
        assert eem.joint_weights(name).sum() == WEIGHTS.sum() == 7


@given(seed=seeds, shift=st.floats(-500, 500), root=st.sampled_from([0, 6, (2, 3)]))
def test_only_what_is_relative_to_the_root_counts(seed: int, shift: float, root: int | tuple[int, int]) -> None:
    pred, gt = people(seed)
    errors, distances = eem.projection_error(pred, gt, WEIGHTS, root)
    moved, moved_distances = eem.projection_error(pred + shift, gt - 2 * shift, WEIGHTS, root)
    np.testing.assert_allclose(moved, errors)
    np.testing.assert_allclose(moved_distances, distances, atol=1e-9)
    np.testing.assert_allclose(eem.projection_error(gt + shift, gt, WEIGHTS, root)[0], 0, atol=1e-9)


@given(seed=seeds, data=st.data())
def test_missing_labels_rescale_the_sum_by_the_weight_left(seed: int, data: st.DataObject) -> None:
    pred, gt = people(seed, count=1)
    visible = np.array([data.draw(st.lists(st.booleans(), min_size=16, max_size=16))])
    visible[0, ROOT] = True
    _, distances = eem.projection_error(pred, gt, WEIGHTS, ROOT)
    left = (WEIGHTS * visible[0]).sum()
    errors, joint_errors = eem.projection_error(pred, gt, WEIGHTS, ROOT, visible, min_weight=0.25)
    if left >= 0.25 * WEIGHTS.sum():
        np.testing.assert_allclose(errors[0], (WEIGHTS * distances[0] * visible[0]).sum() * WEIGHTS.sum() / left)
    else:
        assert np.isnan(errors[0])
    np.testing.assert_array_equal(np.isnan(joint_errors), ~visible)
    np.testing.assert_allclose(joint_errors[visible], distances[visible])


@given(seed=seeds, joint=st.integers(0, 15))
def test_whatever_stands_where_nothing_is_labelled_has_no_say(seed: int, joint: int) -> None:
    pred, gt = people(seed)
    visible = np.ones((5, 16), bool)
    visible[:, joint] = False
    clean = eem.projection_error(pred, gt, WEIGHTS, ROOT, visible)
    gt[:2, joint], pred[2:4, joint], pred[4, joint] = np.nan, np.inf, np.nan
    for spoilt, expected in zip(eem.projection_error(pred, gt, WEIGHTS, ROOT, visible), clean, strict=True):
        np.testing.assert_array_equal(spoilt, expected)


def test_equal_errors_on_every_joint_survive_missing_labels() -> None:
    """The point of the rescaling: a sample is not easier for having fewer labels."""
    gt = np.zeros((1, 16, 2))
    pred = np.full((1, 16, 2), 3.0)
    pred[0, ROOT] = 0
    full, _ = eem.projection_error(pred, gt, WEIGHTS, ROOT)
    half, _ = eem.projection_error(pred, gt, WEIGHTS, ROOT, np.arange(16)[None] >= 6)
    np.testing.assert_allclose(half, full)


def test_what_cannot_be_scored_is_nan() -> None:
    pred, gt = people(0, count=6)
    visible = np.ones((6, 16), bool)
    visible[1, ROOT] = False  # no root
    visible[2] = np.isin(MPII.joints, ["pelvis", "left_hip", "left_wrist"])  # 1.25 of 7
    visible[3] = False  # nothing
    pred[4, 0] = np.nan  # a prediction that is no number
    gt[5, ROOT] = np.nan  # a label that is no number is no label
    errors, joint_errors = eem.projection_error(pred, gt, WEIGHTS, ROOT, visible)
    assert np.isfinite(errors).tolist() == [True, False, False, False, False, False]
    assert np.isnan(joint_errors[[1, 3, 5]]).all()


def test_coco_has_the_midpoint_of_the_hips_for_its_root() -> None:
    coco = joint_set("coco17")
    pred, gt = people(1, count=3, joints=17)
    weights = eem.joint_weights("coco17")
    errors, distances = eem.projection_error(pred, gt, weights, coco.root)
    difference = pred - gt
    difference -= difference[:, [11, 12]].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(distances, np.linalg.norm(difference, axis=-1))
    np.testing.assert_allclose(errors, distances @ weights)
    without_a_hip = np.ones((3, 17), bool)
    without_a_hip[1, 11] = False
    assert np.isnan(eem.projection_error(pred, gt, weights, coco.root, without_a_hip)[0]).tolist() == [
        False,
        True,
        False,
    ]


def test_three_dimensional_pseudo_labels() -> None:
    """Table 7: the same formula on 3D joints."""
    pred, gt = np.random.default_rng(3).normal(size=(2, 4, 16, 3))
    errors, _ = eem.projection_error(pred, gt, WEIGHTS, ROOT)
    relative = (pred - pred[:, [ROOT]]) - (gt - gt[:, [ROOT]])
    np.testing.assert_allclose(errors, np.linalg.norm(relative, axis=-1) @ WEIGHTS)


def test_weights_of_nothing_but_the_root_are_refused() -> None:
    with pytest.raises(ValueError, match="no joint but the root"):
        eem.projection_error(*people(0), np.arange(16) == ROOT, ROOT)


@given(seed=seeds, zoom=st.floats(0.2, 5))
def test_error_in_crop_units_does_not_depend_on_the_size_in_the_image(seed: int, zoom: float) -> None:
    pred, gt = people(seed)
    boxes = np.tile([10.0, 20.0, 210.0, 180.0], (5, 1))

    def error(scale: float) -> np.ndarray:
        pred_in_crop, gt_in_crop = (eem.normalise_to_crop(points * scale, boxes * scale) for points in (pred, gt))
        return eem.projection_error(pred_in_crop, gt_in_crop, WEIGHTS, ROOT)[0]

    np.testing.assert_allclose(error(zoom), error(1.0))
    np.testing.assert_allclose(
        eem.normalise_to_crop([[[110, 100], [10, 0], [210, 200]]], boxes[:1])[0, :, 0], [128, 0, 256], atol=1e-9
    )


def test_a_box_without_area_has_no_error() -> None:
    pred, gt = people(0, count=1)
    pred, gt = (eem.normalise_to_crop(points, [[5, 5, 5, 5]]) for points in (pred, gt))
    assert np.isnan(eem.projection_error(pred, gt, WEIGHTS, ROOT)[0])


Stream = st.lists(st.sampled_from([0.0, 1.0, 2.5, 3.0, 7.0, np.nan, np.inf]), max_size=60)


@given(errors=Stream, hard=st.integers(0, 12), easy=st.integers(0, 12), seed=seeds)
def test_selection_is_that_of_sorting_everything(errors: list[float], hard: int, easy: int, seed: int) -> None:
    ids = [f"s{number:02d}" for number in np.random.default_rng(seed).permutation(len(errors))]
    known = [(name, error) for name, error in zip(ids, errors, strict=True) if np.isfinite(error)]
    hardest = sorted(known, key=lambda pair: (-pair[1], pair[0]))[:hard]
    rest = sorted((pair for pair in known if pair not in hardest), key=lambda pair: (pair[1], pair[0]))
    assert eem.select(iter(errors), iter(ids), hard, easy) == (hardest, rest[:easy])


@given(seed=seeds)
def test_selection_does_not_depend_on_the_order_of_the_stream(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors, ids = rng.integers(0, 20, 300).astype(float), np.arange(300)
    order = rng.permutation(300)
    assert eem.select(errors, ids, 20, 10) == eem.select(errors[order], ids[order], 20, 10)


def test_selection_across_many_chunks() -> None:
    errors = np.random.default_rng(4).permutation(100_000) / 7
    hard, easy = eem.select(errors, range(100_000), 300, 200)
    order = np.argsort(errors)
    assert [name for name, _ in easy] == order[:200].tolist()
    assert [name for name, _ in hard] == order[:-301:-1].tolist()
    assert [error for _, error in hard] == errors[order[:-301:-1]].tolist()


def test_streams_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="as many ids as errors"):
        eem.select([1.0, 2.0], ["a"], 1, 1)


def test_selection_streams_in_bounded_memory() -> None:
    def peak(count: int) -> int:
        def errors() -> Iterator[float]:
            return (float(number * 7919 % 10_007) for number in range(count))

        tracemalloc.start()
        eem.select(errors(), (f"{number:06d}" for number in range(count)), 50, 20)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    assert peak(60_000) < 1.1 * peak(20_000)
