"""MATLAB's and HDF5's files that are damaged, or lead elsewhere."""

import os
from pathlib import Path

import numpy as np
import pytest

from posesyn_core.errors import UserError
from posesyn_datasets.readers.foreign import read_hdf5, read_mat

h5py = pytest.importorskip("h5py")


def test_arrays_are_read_and_optional_ones_may_lack(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.eye(3), np.arange(4)
    found = read_hdf5(tmp_path / "a.h5", ["x"], "x", ["y", "z"])
    assert found.keys() == {"x", "y"}
    np.testing.assert_array_equal(found["x"], np.eye(3))


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(4)
    (tmp_path / "raw").write_bytes(bytes(32))
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink("secret.h5", "/x")
        file["soft"] = h5py.SoftLink("/link")
        file["pipe"] = h5py.ExternalLink("pipe", "/x")
        file["deep"] = h5py.SoftLink("/pipe/x")
        file["circle"] = h5py.SoftLink("/circle")
        file["inner"], file["within"] = np.arange(3), h5py.SoftLink("/inner")
        file.create_dataset("stored", (4,), "f8", external=[(str(tmp_path / "raw"), 0, 32)])
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (4,))
        file.create_virtual_dataset("virtual", layout)
        file.create_group("group")
        file["text"] = "abc"
    for key, reason in {
        "link": "another file", "soft": "another file", "deep": "another file", "circle": "leads nowhere",
        "stored": "another file", "virtual": "another file",
        "group": "no array of numbers", "text": "no array of numbers", "gone": "lacks 'gone'",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=rf"a\.h5.*{reason}|{reason}"):
            read_hdf5(path, [key], "arrays")
    assert read_hdf5(path, ["within"], "arrays")["within"].tolist() == [0, 1, 2]


def test_an_array_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (1 << 33,), "f8", chunks=(1 << 20,))
    with pytest.raises(UserError, match="unpack"):
        read_hdf5(tmp_path / "a.h5", ["x"], "x")


def test_a_mat_file_that_crashes_its_library_is_one_sentence(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "joint_positions.mat"
    path.write_bytes((shared / "field/damaged/annotations/jhmdb_joint_positions.mat-DIED_SIGSEGV-").read_bytes())
    with pytest.raises(UserError, match=r"joint_positions\.mat"):
        read_mat(path, ["pos_img"], "joints")
