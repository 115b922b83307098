"""Reading motions from a file, and from a folder laid out as HumanML3D."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_t2mgpt.motions import load_motions
from posesyn_t2mgpt.representation import canonical_joints, features_from_joints


def test_load(motions_file: Path) -> None:
    motions = load_motions(motions_file)
    assert len(motions) == 6
    assert motions.lengths.tolist() == [60, 21, 40, 80, 33, 50]
    assert motions.texts[3] == ("A person waves the left hand 3 times.", "Someone waves.")


def test_exclude_by_recording_or_motion(motions_file: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("clip1\nclip2_s00\n")
    assert load_motions(motions_file, names).lengths.tolist() == [60, 21, 50]
    names.write_text("clip0\nclip1\nclip2\n")
    with pytest.raises(UserError, match=r"names\.txt"):
        load_motions(motions_file, names)


def test_not_a_motion_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\3\4 no archive")
    with pytest.raises(UserError, match=r"broken\.npz"):
        load_motions(broken)
    np.savez(tmp_path / "other.npz", joints=np.zeros((1, 22, 3)))
    with pytest.raises(UserError, match="offsets"):
        load_motions(tmp_path / "other.npz")


@pytest.fixture
def folder(tmp_path: Path, motion: Callable[..., np.ndarray]) -> Path:
    """A small instance of HumanML3D's layout: one motion as joints, one as features, two that can't be used."""
    for name in ("new_joints", "new_joint_vecs", "texts"):
        (tmp_path / name).mkdir()
    (tmp_path / "train.txt").write_text("000001\nM000001\n000002\n000003\n\n")
    (tmp_path / "val.txt").write_text("000001\n")
    joints = motion(1, 60)
    np.save(tmp_path / "new_joints" / "000001.npy", joints)
    features = features_from_joints(motion(2, 41)[None], continuous_heading=True)[0]
    np.save(tmp_path / "new_joint_vecs" / "M000001.npy", features)
    np.save(tmp_path / "new_joints" / "000002.npy", np.full((50, 22, 3), np.nan, np.float32))
    texts = {
        "000001": "a man kicks.#a/DET man/NOUN kick/VERB#0.0#0.0\nhe kicks, then waves.#he/PRON#nan#nan\n"
        "he waves.#he/PRON wave/VERB#1.5#2.55\n",
        "M000001": "a person walks.#a/DET person/NOUN walk/VERB#0.0#0.0\n",
        "000002": "broken.#broken/ADJ#0.0#0.0\n",
    }
    for name, text in texts.items():
        (tmp_path / "texts" / f"{name}.txt").write_text(text)
    return tmp_path


def test_humanml3d_layout(folder: Path, motion: Callable[..., np.ndarray]) -> None:
    """Whole motions with all their captions, and the part that a caption with times describes."""
    motions = load_motions(folder)
    assert motions.texts == (("a man kicks.", "he kicks, then waves."), ("he waves.",), ("a person walks.",))
    assert motions.starts.tolist() == [0, 30, 60]
    assert motions.lengths.tolist() == [60, 21, 40]
    assert motions.left_out == 2
    np.testing.assert_array_equal(motions.joints[:60], motion(1, 60))
    expected = canonical_joints(torch.from_numpy(motion(2, 41))[None])[0, :40]
    torch.testing.assert_close(motions.joints[60:], expected, atol=1e-4, rtol=0)
    assert len(load_motions(folder, split="val")) == 2


def test_humanml3d_exclude_and_split(folder: Path) -> None:
    (folder / "names.txt").write_text("000001\n000002 000003")
    assert load_motions(folder, folder / "names.txt").texts == (("a person walks.",),)
    with pytest.raises(UserError, match="no motion"):
        load_motions(folder, folder / "names.txt", "val")
    with pytest.raises(UserError, match=r"test\.txt"):
        load_motions(folder, split="test")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("texts/000001.txt", "a man kicks.#a/DET\n", "line 1 of .*000001.txt.* is not 'caption#tokens#from#to'"),
        ("texts/000001.txt", "fine.#x#0.0#0.0\n\nbad.#x#start#0.0", "line 3 of .*000001.txt"),
        ("new_joints/000001.npy", "no array", "000001.npy.*expected an array"),
    ],
)
def test_malformed_humanml3d_files(folder: Path, file: str, content: str, message: str) -> None:
    (folder / file).write_text(content)
    with pytest.warns(PoseSynWarning, match=message):
        motions = load_motions(folder)
    assert motions.left_out == 3
    assert motions.texts == (("a person walks.",),)
    with pytest.raises(UserError, match=message):  # if there is no other
        load_motions(folder, split="val")


def test_motions_of_no_person_are_left_out(folder: Path, motion: Callable[..., np.ndarray]) -> None:
    """Millimetres, or all joints at one place."""
    for broken in (1000 * motion(1, 60), np.zeros((60, 22, 3), np.float32)):
        np.save(folder / "new_joints" / "000001.npy", broken)
        with pytest.warns(PoseSynWarning, match=r"000001\.npy' can't be in metres"):
            assert load_motions(folder).left_out == 3


def test_broken_motions_of_an_npz_are_left_out(motions_file: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(motions_file))
    good = len(load_motions(motions_file))
    arrays["joints"] = arrays["joints"].copy()
    arrays["joints"][arrays["offsets"][1], 3, 0] = np.inf
    np.savez(tmp_path / "broken.npz", **arrays)
    motions = load_motions(tmp_path / "broken.npz")
    assert (len(motions), motions.left_out) == (good - 1, 1)


def test_array_of_another_skeleton(folder: Path) -> None:
    np.save(folder / "new_joints" / "000001.npy", np.zeros((50, 21, 3)))
    with pytest.raises(UserError, match=r"shape \(50, 21, 3\), not \(T, 22, 3\)"):
        load_motions(folder)


def test_published_example(shared: Path, tmp_path: Path) -> None:
    """HumanML3D's own files: the motion recovered from the features is the one that lies beside them."""
    example = shared / "parity" / "humanml"
    (tmp_path / "train.txt").write_text("012314")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "012314.txt").write_text("someone moves.#someone/PRON move/VERB#0.0#0.0")
    read = []
    for kind in ("new_joint_vecs", "new_joints"):
        (tmp_path / kind).symlink_to(example / kind)
        read.append(load_motions(tmp_path))
    assert [len(motions.joints) for motions in read] == [170, 170]
    torch.testing.assert_close(read[0].joints, read[1].joints, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(40, 251), (40, 21, 3)])
def test_kit_motions_are_not_taken_for_humanml3ds(folder: Path, shape: tuple[int, ...]) -> None:
    (folder / "new_joints" / "000001.npy").unlink()
    np.save(folder / "new_joint_vecs" / "000001.npy", np.zeros(shape, np.float32))
    with pytest.raises(UserError, match=r"not \(T, 22, 3\) or \(T, 263\); it is of KIT-ML"):
        load_motions(folder)
