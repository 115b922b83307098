"""The restricted unpickler: data comes through, anything else is refused by name."""

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import sparse

from posesyn_core.errors import UserError
from posesyn_core.files.unpickle import load_pickle


class _RunsACommand:
    def __reduce__(self):
        return os.system, ("echo unpickled > hacked",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_through(tmp_path: Path, protocol: int) -> None:
    data = {"a": np.arange(6.0).reshape(2, 3), "b": [np.float32(2), ("x", b"y", {1, 2})], "c": np.dtype("int16")}
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(data, protocol))
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded.pop("a"), data.pop("a"))
    assert loaded == data


@pytest.mark.parametrize("name", ["csc_matrix", "csr_matrix", "coo_matrix"])
def test_sparse_matrices_come_through_under_their_old_names(tmp_path: Path, name: str) -> None:
    matrix = getattr(sparse, name)(np.eye(3))
    path = tmp_path / "matrix.pkl"
    current, old = f"cscipy.sparse._{name[:3]}\n", f"cscipy.sparse.{name[:3]}\n"
    content = pickle.dumps(matrix, 2)
    assert current.encode() in content
    path.write_bytes(content.replace(current.encode(), old.encode()))
    np.testing.assert_array_equal(load_pickle(path).toarray(), np.eye(3))


@pytest.mark.parametrize("nested", [False, True])
def test_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool) -> None:
    monkeypatch.chdir(tmp_path)
    attack = _RunsACommand()
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"v_template": np.zeros(3), "f": attack} if nested else attack))
    with pytest.raises(UserError, match=r"evil\.pkl.*(posix|nt)\.system"):
        load_pickle(path)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("module", "name"), [("builtins", "eval"), ("builtins", "getattr"), ("numpy", "load"), ("numpy.f2py", "dtype")]
)
def test_names_that_only_look_like_data_are_refused(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(UserError, match=name):
        load_pickle(path)


def _pickled_with_fake_chumpy(monkeypatch: pytest.MonkeyPatch, build) -> bytes:
    """Pickle ``build(Ch, Select)`` in a world where chumpy exists."""
    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    ch = type("Ch", (), {"__module__": "chumpy.ch"})
    select = type("Select", (), {"__module__": "chumpy.reordering"})
    modules["chumpy.ch"].Ch, modules["chumpy.reordering"].Select = ch, select
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        return pickle.dumps(build(ch, select), 2)


def test_chumpy_arrays_become_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)

    def build(ch, select):
        plain, part = ch(), select()
        plain.__dict__.update(x=array, _dirty_vars=set())
        part.__dict__.update(a=plain, idxs=np.array([5, 1, 23]), preferred_shape=(3, 1))
        return {"shapedirs": plain, "more": [part, (plain,)]}

    path = tmp_path / "smpl.pkl"
    path.write_bytes(_pickled_with_fake_chumpy(monkeypatch, build))
    assert "chumpy" not in sys.modules
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["shapedirs"], array)
    np.testing.assert_array_equal(loaded["more"][0], [[5], [1], [23]])
    assert isinstance(loaded["more"][1][0], np.ndarray)


def test_chumpy_expressions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(ch, select):
        product = ch()
        product.__dict__.update(left=1, right=2)
        return product

    path = tmp_path / "smpl.pkl"
    path.write_bytes(_pickled_with_fake_chumpy(monkeypatch, build))
    with pytest.raises(UserError, match="chumpy expression"):
        load_pickle(path)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps(np.arange(1000))[:500])
    with pytest.raises(UserError, match=r"cut\.pkl"):
        load_pickle(path)
    with pytest.raises(UserError, match="does not exist"):
        load_pickle(tmp_path / "none.pkl")


@pytest.mark.parametrize("name", ["h36m/cameras.pkl", "mpi_inf_3dhp/cameras_train.pkl"])
def test_annotation_pickles_of_real_data_sets_load(shared: Path, name: str) -> None:
    content = load_pickle(shared / "data/images" / name)
    assert content
    assert isinstance(content, dict | list)
