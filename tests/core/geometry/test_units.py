"""Units told by bone lengths."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.errors import SampleError, UserError
from posesyn_core.geometry import units
from posesyn_core.geometry.skeletons import JOINT_SETS, JointSet, register
from tests.plugins.posesyn_datasets.figures import figure


@pytest.mark.parametrize("name", JOINT_SETS)
@pytest.mark.parametrize("unit", ["metres", "centimetres", "millimetres"])
def test_units_are_told_by_bones(name: str, unit: str) -> None:
    people = np.stack([figure(name), 1.1 * figure(name) + (0, 1, 4)])
    for other in ("metres", "centimetres", "millimetres"):
        points = people / units.UNITS[other]
        if other == unit:
            units.check_units(points, name, unit, Path("a.pkl"))
        else:
            with pytest.raises(UserError, match=rf"'a\.pkl' can't be in {unit}.*seem to be in {other}"):
                units.check_units(points, name, unit, Path("a.pkl"))


@given(scale=st.floats(0.6, 1.3), shift=st.tuples(*[st.floats(-9, 9)] * 3))
def test_people_of_any_size_and_place_are_people(scale: float, shift: tuple[float, float, float]) -> None:
    units.check_person(scale * figure("smpl24") + shift, "smpl24")


def test_mixed_units_reject_the_odd_person_only() -> None:
    people = np.stack([figure("h36m17")] * 4)
    people[2] *= 1000
    units.check_units(people, "h36m17", "metres", Path("a.npz"))
    with pytest.raises(SampleError, match=r"no person's.*other units"):
        units.check_person(people[2], "h36m17")


def test_unknown_joints_say_nothing() -> None:
    points = figure("h36m17")
    known = points[:4].copy()
    points[4:] = np.nan
    assert units.limb_length(points, "h36m17") == pytest.approx(
        (np.linalg.norm(known[1] - known[2]) + np.linalg.norm(known[2] - known[3])) / 2
    )
    points[:] = np.nan
    units.check_person(points, "h36m17")
    units.check_units(points[None], "h36m17", "metres", Path("a.npz"))


def test_sets_without_limbs_tell_no_units() -> None:
    register(JointSet("hips2", ("left_hip", "right_hip"), (-1, 0), (0, 1), "Hips alone"))
    assert np.isnan(units.limb_length(np.ones((3, 2, 3)), "hips2")).all()
    units.check_person(np.ones((2, 3)), "hips2")
