"""What is said of files that are not there, or are not what they should be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from posesyn_core.files.presence import file_faults, folder_faults, hub_faults, smpl_file


def said(path: Path) -> str:
    return "\n".join(file_faults(path, "the weights", "download them from example.org"))


def test_a_missing_file_and_a_folder_in_its_place_are_told_with_the_source(tmp_path: Path) -> None:
    assert "'" + str(tmp_path / "no.pt") + "' does not exist: download them from example.org" in said(
        tmp_path / "no.pt"
    )
    assert "a folder, not a file: download them" in said(tmp_path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_whole_files_pass_and_truncated_ones_are_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    tensor = torch.zeros(1000)
    if suffix == ".pt":
        torch.save({"a": tensor}, path)
    elif suffix == ".npz":
        np.savez(path, a=tensor.numpy())
    else:
        save_file({"a": tensor}, path)
    assert said(path) == ""
    path.write_bytes(path.read_bytes()[:-100])
    assert "ends early" in said(path)


def test_a_web_page_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_text("<!DOCTYPE html><html>Log in</html>")
    assert "it is a web page" in said(path)


def test_all_that_a_folder_lacks_is_told(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    found = list(folder_faults(tmp_path, "the data", "get it", ("there", "config.json", "images")))
    assert [fault.split(" lacks ")[1] for fault in found] == ["config.json: get it", "images: get it"]


def test_a_model_of_the_hub_counts_if_it_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (fault,) = hub_faults("some/model", "the captioner", "1 GB")
    assert "`hf download some/model` (1 GB)" in fault
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert not list(hub_faults("some/model", "the captioner", "1 GB"))
    assert not list(hub_faults(str(snapshot), "the captioner", "1 GB"))
    assert "does not exist" in next(hub_faults("/nowhere/model", "the captioner", "1 GB"))


def test_smpl_files_are_found_by_their_usual_names(tmp_path: Path) -> None:
    assert smpl_file(tmp_path, "female") is None
    for name in ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "SMPL_MALE.npz"):
        (tmp_path / name).touch()
    assert smpl_file(tmp_path, "female") == tmp_path / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    assert smpl_file(tmp_path, "male") == tmp_path / "SMPL_MALE.npz"
