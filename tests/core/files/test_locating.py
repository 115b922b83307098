"""Where files lie: natural order, and pictures found by the names that annotation files have for them."""

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.errors import PoseSynWarning, SampleError
from posesyn_core.files.locating import Pictures, files_below, in_order


def test_order_is_natural_and_the_same_for_the_same_names() -> None:
    names = ["a/frame_10.jpg", "a/frame_9.jpg", "b1/x", "b10/x", "b2/x", "frame_1.jpg", "a/frame_09.jpg"]
    ordered = in_order(names)
    assert ordered[:3] == ["a/frame_09.jpg", "a/frame_9.jpg", "a/frame_10.jpg"]
    assert [name for name in ordered if name.startswith("b")] == ["b1/x", "b2/x", "b10/x"]
    assert in_order(names[::-1]) == ordered


@given(st.lists(st.text("ab01/.", min_size=1), unique=True), st.randoms())
def test_order_depends_on_the_names_alone(names: list[str], random) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    assert in_order(shuffled) == in_order(names)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("one.jpg", "default/two.jpg", "s1/000001.jpg", "s2/000001.jpg", "s2/000002.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "secret.jpg").touch()
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one.jpg", "one.jpg"),
        ("./default/two.jpg", "default/two.jpg"),
        ("two.jpg", "default/two.jpg"),  # the tool left out the folder
        ("default\\two.jpg", "default/two.jpg"),
        ("batch1\\one.jpg", "one.jpg"),
        ("C:\\Users\\me\\data\\two.jpg", "default/two.jpg"),
        ("/data/upload/1/one.jpg", "one.jpg"),
        ("/data/s2/000001.jpg", "s2/000001.jpg"),
        ("upload/s2/000001.jpg", "s2/000001.jpg"),
    ],
)
@pytest.mark.filterwarnings("ignore::posesyn_core.errors.PoseSynWarning")
def test_pictures_are_found_by_the_names_of_labelling_tools(root: Path, name: str, found: str) -> None:
    assert Pictures(root).find(name) == root / found


def test_what_is_ambiguous_or_elsewhere_is_refused(root: Path) -> None:
    pictures = Pictures(root)
    for name in ("../secret.jpg", "/etc/passwd", str(root.parent / "secret.jpg")):
        with pytest.raises(SampleError, match="leaves the image root"):
            pictures.find(name)
    assert not pictures.find("..\\secret.jpg").is_file()
    with pytest.raises(SampleError, match=r"may be s1/000001\.jpg or s2/000001\.jpg"):
        pictures.find("000001.jpg")
    with pytest.raises(SampleError, match="malformed"):
        pictures.find(7)  # type: ignore[arg-type]


def test_a_picture_of_another_sequence_is_never_taken(root: Path) -> None:
    """A data set of which only some sequences were downloaded: frames have the same names in each."""
    assert Pictures(root).find("s3/000002.jpg") == root / "s3/000002.jpg"  # which is missing, and will be refused


def test_two_names_never_share_a_picture(root: Path) -> None:
    pictures = Pictures(root)
    with pytest.warns(PoseSynWarning, match=r"not where the annotation file says.*'/a/one\.jpg' is"):
        pictures.find("/a/one.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        pictures.find("/a/one.jpg")
        pictures.find("/a/two.jpg")
    with pytest.raises(SampleError, match=r"would both be one\.jpg"):
        pictures.find("/b/one.jpg")


def test_links_are_followed_only_where_that_is_wanted(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk2").mkdir()
    (tmp_path / "disk2/far.jpg").touch()
    (root / "linked").symlink_to(tmp_path / "disk2")
    (root / "loop").symlink_to(root)
    with pytest.raises(SampleError, match="follow_links = true"):
        Pictures(root).find("linked/far.jpg")
    assert Pictures(root, follow_links=True).find("linked/far.jpg").is_file()
    assert len(list(files_below(root, follow_links=True))) == 6
    assert len(list(files_below(root))) == 5
