"""The AGORA reader on a small instance of the official layout, its tables pickled as pandas pickles them."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.agora import AgoraConfig, AgoraReader
from tests.plugins.posesyn_datasets.figures import figure
from tests.plugins.posesyn_datasets.overlays import drawn

NAME = "ag_validationset_renderpeople_bfh_brushifygrasslands_5_15_00105.png"
FOCAL = 28 / 36 * 3840

Dump = Callable[[dict[str, Any]], bytes]


class Reduced:
    """Pickles as a call."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


@pytest.fixture(params=["pandas 1.2", "pandas 1.3"])
def dump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Dump:
    """Pickles columns as a DataFrame of that version does: by names in modules that need not be installed."""

    def define(module: str, name: str, **members: Any) -> Any:
        """A class that pickles by its name there; it may also stand for a function."""
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or ModuleType(module))
        made = type(name, (), {**members, "__module__": module})
        setattr(sys.modules[module], name, made)
        return made

    for package in ("pandas", "pandas.core", "pandas.core.internals", "pandas.core.indexes", "pandas._libs"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    frame = define("pandas.core.frame", "DataFrame")
    manager = define("pandas.core.internals.managers", "BlockManager", __getstate__=lambda self: self.state)
    index, new = (define("pandas.core.indexes.base", name) for name in ("Index", "_new_Index"))
    counted, block = (
        define("pandas.core.indexes.range", "RangeIndex"),
        define("pandas._libs.internals", "_unpickle_block"),
    )

    def pickled(columns: dict[str, Any]) -> bytes:
        values = np.empty((len(columns), len(next(iter(columns.values())))), object)
        for at, column in enumerate(columns.values()):
            values[at] = np.array([*column, None], object)[:-1]
        axes = [
            Reduced(new, (index, {"data": np.array(list(columns), object), "name": None})),
            Reduced(new, (counted, {"name": None, "start": 0, "stop": values.shape[1], "step": 1})),
        ]
        halves = [slice(0, 2, 1), slice(2, len(columns), 1)]
        blocks: Any = Reduced(manager, (tuple(Reduced(block, (values[half], half, 2)) for half in halves), axes))
        if request.param == "pandas 1.2":
            parts = [{"values": values[half], "mgr_locs": half} for half in halves]
            blocks = manager()
            blocks.state = (axes, [values], [axes[0]], {"0.14.1": {"axes": axes, "blocks": parts}})
        whole = frame()
        whole.__dict__.update({"_mgr": blocks, "_typ": "dataframe", "_metadata": [], "attrs": {}})
        return pickle.dumps(whole, 4)

    return pickled


def people(*places: tuple[float, float, float]) -> list[np.ndarray]:
    """The 45 joints of people at these places, camera frame, metres; the last 21 are no joints of SMPL's tree."""
    return [np.concatenate([figure("smpl24") + place, np.full((21, 3), place)]) for place in places]


def table(joints: list[np.ndarray], valid: list[bool]) -> dict[str, Any]:
    pixels = [FOCAL * one[:, :2] / one[:, 2:] + (1920, 1080) for one in joints]
    return {"X": [[0.0] * len(joints)], "imgPath": [NAME], "isValid": [valid], "gender": [["male"] * len(joints)],
            "gt_joints_2d": [pixels], "gt_joints_3d": [joints]}  # fmt: skip


def write(root: Path, photo: bytes, data: bytes, name: str = NAME) -> None:
    (root / "validation_SMPL/SMPL").mkdir(parents=True)
    (root / "validation_SMPL/SMPL/validation_0_withjv.pkl").write_bytes(data)
    (root / "validation").mkdir()
    (root / "validation" / name).write_bytes(photo)


def read(root: Path) -> list[SampleOrRejection]:
    return list(AgoraReader(AgoraConfig(root)).samples())


@pytest.mark.parametrize("small", [False, True])
def test_people(root: Path, photo: bytes, dump: Dump, small: bool) -> None:
    joints = people((0, 0, 6), (1, 0.2, 8))
    name = NAME.replace(".png", "_1280x720.png") if small else NAME
    write(root, photo, dump(table(joints, [True, True])), name)
    scale = 1 / 3 if small else 1.0
    samples = read(root)
    assert len(samples) == 2
    for number, sample in enumerate(samples):
        assert isinstance(sample, Sample)
        assert sample.id == f"agora/validation/{NAME.removesuffix('.png')}-{number}"
        assert sample.joints3d == pytest.approx(joints[number][:24] - joints[number][0], abs=1e-5)
        drawn(sample)
        assert sample.camera is not None
        seen = joints[number][:24]
        again = seen[:, :2] / seen[:, 2:] * sample.camera.focal_length + sample.camera.principal_point
        assert sample.keypoints2d == pytest.approx(again, abs=0.01)
        assert sample.camera.principal_point == pytest.approx([1920 * scale, 1080 * scale])
        assert load_image(sample.image).shape == (60, 80, 3)
    assert AgoraReader(AgoraConfig(root)).protocol.metrics[:2] == ("mpjpe", "nmje")


def test_broken_people_are_refused(root: Path, photo: bytes, dump: Dump) -> None:
    joints = people((0, 0, 6), (0, 0, 6), (0, 0, 6), (0, 0, 6), (50, 0, 6))
    joints[2] = joints[2][:17]
    joints[3] = 1000 * joints[3]
    write(root, photo, dump(table(joints, [True, False, True, True, True])))
    good, *bad = read(root)
    assert isinstance(good, Sample)
    for entry, reason in zip(bad, ["marks the person", "24 or more", "no person's", "outside the image"], strict=True):
        assert isinstance(entry, tuple)
        assert reason in entry[1]


def test_other_units_and_lacking_columns_are_noticed(root: Path, photo: bytes, dump: Dump) -> None:
    write(root, photo, dump(table([1000 * people((0, 0, 6))[0]], [True])))
    with pytest.raises(UserError, match=r"validation_0_withjv.*can't be in metres.*in millimetres"):
        read(root)
    plain = table(people((0, 0, 6)), [True])
    del plain["gt_joints_3d"]
    (root / "validation_SMPL/SMPL/validation_0_withjv.pkl").write_bytes(dump(plain))
    with pytest.raises(UserError, match=r"validation_0_withjv\.pkl.*lacks 'gt_joints_3d'"):
        read(root)


def test_columns_that_do_not_fit_together_are_noticed(root: Path, photo: bytes) -> None:
    rows = table(people((0, 0, 6), (1, 0.2, 8)), [True, True])
    write(root, photo, pickle.dumps({**rows, "imgPath": []}))
    with pytest.raises(UserError, match="have different numbers of rows: imgPath 0, isValid 1"):
        read(root)


def test_what_is_missing_is_said(root: Path, photo: bytes, dump: Dump) -> None:
    root.mkdir()
    with pytest.raises(UserError, match=r"no validation_SMPL/SMPL/validation_0_withjv\.pkl"):
        read(root)
    write(root, photo, dump(table(people((0, 0, 6)), [True])))
    (root / "validation" / NAME).unlink()
    (entry,) = read(root)
    assert isinstance(entry, tuple)
    assert "is missing in validation" in entry[1]
    (root / "validation").rmdir()
    with pytest.raises(UserError, match="misses validation in"):
        read(root)


def test_code_is_refused(root: Path, photo: bytes) -> None:
    write(root, photo, pickle.dumps(Reduced(print, ("code ran",))))
    with pytest.raises(UserError, match=r"validation_0_withjv\.pkl.*print"):
        read(root)
