"""Joint sets and the conversions between them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import (
    JOINT_SETS,
    MIDPOINTS,
    JointSet,
    convert,
    hips,
    joint_set,
    register,
    shared_root,
)

names = st.sampled_from(sorted(JOINT_SETS))
seeds = st.integers(0, 2**32 - 1)
PARTS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
LIMBS = [f"{side}_{part}" for side in ("left", "right") for part in PARTS]


def points_of(name: str, seed: int, dimensions: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, len(joint_set(name)), dimensions))


def at(name: str, joint: str) -> int:
    return joint_set(name).joints.index(joint)


@pytest.mark.parametrize("name", JOINT_SETS)
def test_a_set_is_a_tree_with_every_joint_named_once(name: str) -> None:
    joints = joint_set(name)
    assert name.endswith(str(len(joints)))
    assert len(set(joints.joints)) == len(set(joints.points)) == len(joints.parents) == len(joints)
    assert joints.parents.count(-1) == 1
    for joint in range(len(joints)):  # every joint leads to the root of the tree
        steps = 0
        while joints.parents[joint] >= 0:
            joint, steps = joints.parents[joint], steps + 1
            assert steps < len(joints)
    assert set(LIMBS) <= set(joints.joints)
    assert set(joints.renamed) <= set(joints.joints)


@pytest.mark.parametrize("name", JOINT_SETS)
def test_flipping_swaps_left_and_right_alone(name: str) -> None:
    joints = joint_set(name)
    flipped = [joints.joints[i] for i in joints.flip]
    swap = {"left": "right", "right": "left"}
    assert flipped == ["_".join(swap.get(word, word) for word in joint.split("_")) for joint in joints.joints]
    for left, right in joints.pairs:
        assert joints.joints[left] == "left_" + joints.joints[right].removeprefix("right_")


def test_orders_agree_with_the_reference_lists(shared: Path) -> None:
    lists = json.loads((shared / "parity/crowdnet/joint_sets.json").read_text())
    short = {"left": "l", "right": "r"}

    def official(name: str) -> list[str]:
        words = (joint.split("_") for joint in joint_set(name).joints)
        return ["_".join(short.get(word, word) for word in joint) for joint in words]

    for name, reference, stop in (("mpii16", "mpii_16", 8), ("coco17", "coco_18", 17), ("h36m17", "h36m_17", 7)):
        assert official(name)[:stop] == [joint.lower() for joint in lists[reference]["joints"]][:stop]
    assert official("mpii16")[10:] == [joint.lower() for joint in lists["mpii_16"]["joints"]][10:]
    pairs = {tuple(sorted(pair)) for pair in lists["smpl_superset_30"]["flip_pairs"] if max(pair) < 24}
    assert {tuple(sorted(pair)) for pair in joint_set("smpl24").pairs} == pairs


@given(name=names, seed=seeds)
def test_converting_to_the_same_set_changes_nothing(name: str, seed: int) -> None:
    points = points_of(name, seed)
    converted, valid = convert(points, None, name, name)
    assert valid.all()
    np.testing.assert_array_equal(converted, points)


@given(source=names, target=names, seed=seeds)
def test_limbs_are_the_same_points_in_every_set(source: str, target: str, seed: int) -> None:
    points = points_of(source, seed, dimensions=3)
    converted, valid = convert(points, None, source, target)
    limbs = [at(target, joint) for joint in LIMBS]
    assert valid[:, limbs].all()
    np.testing.assert_allclose(converted[:, limbs], points[:, [at(source, joint) for joint in LIMBS]])
    assert (converted[~valid] == 0).all()


@given(source=names, middle=names, target=names, seed=seeds)
def test_a_detour_agrees_where_both_ways_are_valid(source: str, middle: str, target: str, seed: int) -> None:
    """Up to the midpoints: going through a set that measures them itself may not change what they are."""
    points = points_of(source, seed)
    for midpoint, (left, right) in MIDPOINTS.items():
        if midpoint in joint_set(source).points:
            middle_of = points[:, [at(source, left), at(source, right)]].mean(axis=1)
            points[:, joint_set(source).points.index(midpoint)] = middle_of
    direct, valid = convert(points, None, source, target)
    detour, still = convert(*convert(points, None, source, middle), middle, target)
    assert not (still & ~valid).any()
    np.testing.assert_allclose(detour[still], direct[still], atol=1e-12)


@pytest.mark.parametrize(
    ("source", "target", "joint", "parts"),
    [
        ("coco17", "mpii16", "pelvis", ("left_hip", "right_hip")),
        ("smpl24", "mpii16", "pelvis", ("left_hip", "right_hip")),
        ("coco17", "mpii16", "thorax", ("left_shoulder", "right_shoulder")),
        ("coco17", "openpose25", "neck", ("left_shoulder", "right_shoulder")),
        ("lsp14", "openpose25", "mid_hip", ("left_hip", "right_hip")),
    ],
)
def test_midpoints_are_derived(source: str, target: str, joint: str, parts: tuple[str, str]) -> None:
    points = points_of(source, 1)
    converted, valid = convert(points, None, source, target)
    assert valid[:, at(target, joint)].all()
    expected = points[:, [at(source, part) for part in parts]].mean(axis=1)
    np.testing.assert_allclose(converted[:, at(target, joint)], expected)

    labelled = np.ones(points.shape[:2], bool)
    labelled[1, at(source, parts[0])] = False
    converted, valid = convert(points, labelled, source, target)
    assert valid[:, at(target, joint)].tolist() == [True, False, True]
    assert (converted[1, at(target, joint)] == 0).all()


@pytest.mark.parametrize(
    ("source", "target", "joint"),
    [
        ("smpl24", "mpii16", "head_top"),
        ("smpl24", "mpii16", "upper_neck"),
        ("mpii16", "smpl24", "neck"),
        ("mpii16", "smpl24", "pelvis"),
        ("coco17", "smpl24", "head"),
        ("openpose25", "lsp14", "neck"),
        ("openpose25", "jhmdb15", "neck"),
        ("coco17", "h36m17", "nose"),
        ("mpii16", "h36m17", "thorax"),
        ("openpose25", "smpl24", "left_foot"),
        ("h36m17", "mpii16", "head_top"),
    ],
)
def test_what_cannot_be_derived_is_missing(source: str, target: str, joint: str) -> None:
    _, valid = convert(points_of(source, 2), None, source, target)
    assert not valid[:, at(target, joint)].any()


def test_mpii_labels_are_those_of_lsp() -> None:
    points = points_of("mpii16", 3)
    converted, valid = convert(points, None, "mpii16", "lsp14")
    assert valid.all()
    np.testing.assert_array_equal(converted[:, 12:], points[:, 8:10])


def test_real_labels_put_pelvis_and_thorax_in_the_middle(shared: Path) -> None:
    """The claim behind ``mid_hips`` and ``mid_shoulders``, on MPII's own files: one pixel is rounding."""
    entries = json.loads((shared / "data/images/mpii/test_mpii.json").read_text())
    joints = np.array([entry["joints"] for entry in entries], dtype=float)
    derived, valid = convert(*convert(joints, None, "mpii16", "coco17"), "coco17", "mpii16")
    middles = [at("mpii16", "pelvis"), at("mpii16", "thorax")]
    assert valid[:, middles].all()
    np.testing.assert_allclose(derived[:, middles], joints[:, middles], atol=1.0)


def test_an_unknown_joint_spoils_only_what_derives_from_it() -> None:
    points = points_of("coco17", 4)
    points[0, at("coco17", "left_wrist")] = np.nan
    converted, valid = convert(points, None, "coco17", "mpii16")
    assert not valid[0, at("mpii16", "left_wrist")]
    assert valid[0, at("mpii16", "right_wrist")] and valid[0, at("mpii16", "pelvis")]
    assert np.isfinite(converted).all()


def test_the_precision_of_the_points_is_kept_and_leading_axes_are_free() -> None:
    points = np.zeros((2, 5, 17, 3), np.float32)
    converted, valid = convert(points, np.ones((2, 5, 17)), "coco17", "smpl24")
    assert converted.shape == (2, 5, 24, 3) and converted.dtype == np.float32
    assert valid.shape == (2, 5, 24)
    assert convert(np.zeros((17, 2), int), None, "coco17", "mpii16")[0].dtype == np.float64


def test_wrong_names_and_sizes_are_explained() -> None:
    with pytest.raises(UserError, match=r"no joint set 'coco18'.*coco17"):
        convert(np.zeros((17, 2)), None, "coco18", "mpii16")
    with pytest.raises(ValueError, match="17 joints, not 16"):
        convert(np.zeros((16, 2)), None, "coco17", "mpii16")


@pytest.mark.parametrize("name", JOINT_SETS)
def test_the_root_is_the_pelvis_or_both_hips(name: str) -> None:
    joints = joint_set(name)
    points = [joints.points[i] for i in joints.root]
    assert points in (["pelvis"], ["mid_hips"]) or sorted(points) == ["left_hip", "right_hip"]
    assert len(joints.bones) == len(joints) - 1


@given(source=names, target=names)
def test_what_is_compared_has_one_root(source: str, target: str) -> None:
    """The target's own where the source has it; SMPL's pelvis is nobody else's, but all have hips."""
    root = shared_root(source, target)
    _, derivable = convert(np.zeros((len(joint_set(source)), 2)), None, source, target)
    assert derivable[list(root)].all()
    own = joint_set(target).root
    assert root == (own if derivable[list(own)].all() else hips(target))
    assert shared_root(target, target) == own


def test_roots_by_hand() -> None:
    assert shared_root("smpl24", "mpii16") == (6,)  # the middle of the hips, which SMPL's hips give
    assert shared_root("blazepose33", "smpl24") == shared_root("h36m16", "smpl24") == (1, 2)
    assert shared_root("humanml22", "smpl24") == (0,)


def test_rows_of_human36m() -> None:
    """The 16 joints of lifters are the usual 17 without the nose (``parity/poseaug``)."""
    few, all17 = joint_set("h36m16"), joint_set("h36m17")
    assert few.joints == tuple(joint for joint in all17.joints if joint != "nose")
    assert few.points == tuple(point for point in all17.points if point != "h36m_nose")
    assert few.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 8, 10, 11, 8, 13, 14)


def test_places_of_blazepose() -> None:
    """As numbered in ``parity/blazepose``: left first, from nose to feet."""
    numbered = {
        0: "nose", 2: "left_eye", 5: "right_eye", 7: "left_ear", 10: "right_mouth", 11: "left_shoulder",
        14: "right_elbow", 15: "left_wrist", 18: "right_pinky", 19: "left_index", 22: "right_thumb", 23: "left_hip",
        26: "right_knee", 27: "left_ankle", 29: "left_heel", 32: "right_foot_index",
    }  # fmt: skip
    blaze = joint_set("blazepose33")
    assert all(blaze.joints[place] == name for place, name in numbered.items())
    shared = convert(np.zeros((33, 2)), None, "blazepose33", "coco17")[1]
    assert shared.all()
    assert convert(np.zeros((33, 2)), None, "blazepose33", "openpose25")[1].sum() == 19  # no toes, no heels


def test_a_set_can_be_registered_once() -> None:
    mine = JointSet("mine3", ("left_hip", "right_hip", "tail"), (-1, 0, 0), (0, 1), "A tail")
    register(mine)
    register(JointSet("mine3", ("left_hip", "right_hip", "tail"), (-1, 0, 0), (0, 1), "A tail"))
    assert joint_set("mine3") == mine
    assert convert(np.ones((17, 2)), None, "coco17", "mine3")[1].tolist() == [True, True, False]
    with pytest.raises(UserError, match="another joint set 'mine3'"):
        register(JointSet("mine3", ("left_hip", "right_hip", "nose"), (-1, 0, 0), (0, 1), "A nose"))


@pytest.mark.parametrize(
    ("joints", "parents", "root"),
    [(("a", "a"), (-1, 0), (0,)), (("a", "b"), (-1,), (0,)), (("a", "b"), (-1, 2), (0,)), (("a", "b"), (-1, 0), ())],
)
def test_a_set_that_makes_no_sense_is_refused(
    joints: tuple[str, ...], parents: tuple[int, ...], root: tuple[int, ...]
) -> None:
    with pytest.raises(UserError, match="joint set 'odd2' needs"):
        register(JointSet("odd2", joints, parents, root, "Odd"))
    assert "odd2" not in JOINT_SETS
