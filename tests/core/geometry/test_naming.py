"""Joints by the names that files give them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.errors import UserError
from posesyn_core.geometry.naming import naming, plain, unnamed
from posesyn_core.geometry.skeletons import COCO17, JOINT_SETS, LSP14


@pytest.mark.parametrize(
    "name",
    [
        *("left_shoulder", "Left Shoulder", "LShoulder", "l_shoulder"),
        *("leftShoulder", "shoulder_l", "L-Shoulder", "LEFT_SHOULDER"),
    ],
)
def test_spellings_of_a_name(name: str) -> None:
    assert plain(name) == "left_shoulder"


def test_other_names() -> None:
    assert [plain(name) for name in ("root (pelvis)", "Neck/Nose", "Head_top", "nose", "L")] == [
        "root_pelvis", "neck_nose", "head_top", "nose", "l",
    ]  # fmt: skip


@given(st.sampled_from(list(JOINT_SETS.values())), st.randoms())
def test_a_set_in_any_order_is_known_and_its_rows_come_in_order(joints, random) -> None:
    names = list(joints.joints)
    random.shuffle(names)
    found = naming(names, "", wanted=joints.name)
    rows = np.array([[joints.joints.index(name), 1] for name in names])
    assert found.take(rows)[:, 0].tolist() == list(range(len(joints)))


def test_a_part_of_a_set_is_known_and_the_rest_is_empty() -> None:
    body = COCO17.joints[5:]
    found = naming(body, "coco17")
    assert found.joints is COCO17
    rows = found.take(np.arange(1, 13)[:, None])
    assert rows[:, 0].tolist() == [0] * 5 + list(range(1, 13))
    assert len(naming(body, "").joints) == min(len(s) for s in JOINT_SETS.values() if set(body) <= set(s.joints))


@given(st.sampled_from([one for one in JOINT_SETS.values() if len(one) > 12]), st.randoms())
def test_joints_that_no_set_has_are_left_out_beside_a_whole_set(joints, random) -> None:
    names = [*joints.joints, "left_finger", "antenna"]
    random.shuffle(names)
    found = naming(names, "coco17", wanted=joints.name)
    assert set(found.left_out) == {"left_finger", "antenna"} and found.count == len(names)
    rows = np.array([[list(joints.joints).index(n) if n in joints.joints else 99] for n in names])
    assert found.take(rows[: found.least])[:, 0].tolist() == list(range(len(joints)))


def test_the_whole_set_that_knows_most_is_taken_where_none_has_all() -> None:
    found = naming([*COCO17.joints, "left_finger"], "coco17")
    assert found.joints is COCO17 and found.left_out == ("left_finger",) and found.least == 17
    with pytest.raises(UserError, match=r"\['antenna'\] are none of the joint set 'lsp14'"):
        naming([*LSP14.joints[1:], "antenna"], "coco17", wanted="lsp14")


def test_unknown_and_ambiguous_names_are_refused() -> None:
    with pytest.raises(UserError, match=r"no known joint set.*'coco17', lacks antenna"):
        naming([*COCO17.joints[1:], "antenna"], "coco17")
    with pytest.raises(UserError, match="which mean different points"):
        naming(["neck", "left_hip", "right_hip"], "coco17")
    with pytest.raises(UserError, match=r"joints are named twice among"):
        naming(["nose", "left_eye", "nose"], "coco17", wanted="coco17")
    with pytest.raises(UserError, match=r"nose.*none of the joint set 'lsp14'"):
        naming(["nose"], "coco17", wanted="lsp14")
    with pytest.raises(UserError, match="no known joint set"):
        naming([*COCO17.joints, "nose"], "coco17")


def test_without_names_the_order_is_the_sets() -> None:
    assert unnamed("lsp14").take(np.arange(14)[:, None])[:, 0].tolist() == list(range(14))
    assert unnamed("lsp14").joints is LSP14
