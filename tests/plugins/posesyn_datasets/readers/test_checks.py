"""What the readers of 3D data check."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.reading import read_npz
from posesyn_datasets.readers import checks
from posesyn_datasets.readers.foreign import read_mat


class Code:
    """Unpickles to a call of ``print``."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_an_archive_with_code_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", S=np.array([Code()], object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Code()))
    for name, reason in (("a.npz", "pickled objects are refused"), ("b.npz", "not a zip file")):
        with pytest.raises(UserError, match=rf"{name}.*{reason}"):
            read_npz(tmp_path / name, "annotations", "SPIN's npz")
    assert capsys.readouterr().out == ""


def test_missing_keys_and_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", S=np.zeros(3))
    arrays = read_npz(tmp_path / "a.npz", "annotations", "")
    with pytest.raises(UserError, match=r"a\.npz.*lacks 'part', 'scale'; expected SPIN's"):
        checks.expect_keys(arrays, ["S", "part", "scale"], tmp_path / "a.npz", "SPIN's npz")
    with pytest.raises(UserError, match=r"the x reader misses b, c/d in .*; get it there"):
        checks.expect_layout(tmp_path, ["a.npz", "b", "c/d"], "x", "get it there")
    with pytest.raises(UserError, match="holds no dictionary"):
        checks.expect_keys([1], ["S"], tmp_path, "a dictionary")


def test_mat_files(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"joints": np.eye(3)})
    assert np.array_equal(read_mat(tmp_path / "a.mat", ["joints"], "")["joints"], np.eye(3))
    (tmp_path / "b.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:150])
    with pytest.raises(UserError, match=r"b\.mat.*is not a MATLAB file.*complete"):
        read_mat(tmp_path / "b.mat", ["joints"], "joints")
    (tmp_path / "c.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512))
    with pytest.raises(UserError, match=r"c\.mat.*MATLAB 7\.3.*-v7"):
        read_mat(tmp_path / "c.mat", ["joints"], "joints")


def test_shapes_are_checked() -> None:
    assert checks.expect_shape(np.zeros((4, 24, 3)), (None, 24, 3), "S", Path("a")).shape == (4, 24, 3)
    with pytest.raises(UserError, match="'S' in 'a' must be any x 24 x 3, not 4 x 16 x 3"):
        checks.expect_shape(np.zeros((4, 16, 3)), (None, 24, 3), "S", Path("a"))
    with pytest.raises(UserError, match="no array of numbers"):
        checks.expect_shape("abc", (None,), "S", Path("a"))


def test_cameras() -> None:
    camera = checks.intrinsics([[1000, 0, 320], [0, 1001, 240], [0, 0, 1]], Path("a"))
    assert camera.focal_length.tolist() == [1000, 1001]
    assert camera.principal_point.tolist() == [320, 240]
    for missing in (None, np.zeros(3), []):
        with pytest.raises(UserError, match="camera in 'a' is missing"):
            checks.intrinsics(missing, Path("a"))
    with pytest.raises(UserError, match="in 'a' the camera has the impossible"):
        checks.intrinsics(np.zeros((3, 3)), Path("a"))
    with pytest.raises(SampleError, match="camera is missing"):
        checks.pinhole([], [1, 2])
