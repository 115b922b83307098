"""The MPII reader on HRNet's JSON, on a small instance of the official .mat, and on real files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from posesyn_core import Sample, UserError
from posesyn_core.files.images import load_image
from posesyn_core.values import SampleOrRejection
from posesyn_datasets.readers.mpii import MpiiConfig, MpiiReader
from tests.plugins.posesyn_datasets.overlays import drawn


def read(root: Path, **options: Any) -> list[SampleOrRejection]:
    return list(MpiiReader(MpiiConfig(root, **options)).samples())


def entry(image: str = "a.jpg", **changes: Any) -> dict[str, Any]:
    """A person with HRNet's keys: joint k at (10 + k, 20 + 2 k), counted from 1."""
    joints = [[10.0 + k, 20.0 + 2 * k] for k in range(16)]
    return {"image": image, "joints": joints, "joints_vis": [1] * 16, "center": [18.0, 35.0], "scale": 0.4, **changes}


def write(root: Path, people: Any, name: str = "annot/train.json") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(people if isinstance(people, str) else json.dumps(people))
    return path


def test_pixels_count_from_0(root: Path) -> None:
    write(root, [entry()])
    (sample,) = read(root)
    assert isinstance(sample, Sample)
    assert sample.joint_set == "mpii16"
    assert np.array_equal(sample.keypoints2d, np.stack([9 + np.arange(16), 19 + 2 * np.arange(16)], -1))
    assert np.array_equal(sample.confidence, np.ones(16))
    drawn(sample)
    x0, y0, x1, y1 = sample.box
    assert x0 < 9 < 24 < x1
    assert y0 < 19 < 49 < y1


def test_the_official_box_is_a_square_of_200_px_times_scale_moved_to_the_feet(root: Path) -> None:
    write(root, [entry()])
    (sample,) = read(root, box="scale")
    assert isinstance(sample, Sample)
    assert sample.box == pytest.approx([17 - 40, 34 + 6 - 40, 17 + 40, 34 + 6 + 40])


def test_people_of_an_image_are_counted_and_order_is_that_of_the_file(root: Path) -> None:
    write(root, [entry("a.jpg"), entry("b.jpg"), entry("a.jpg")])
    ids = [sample.id for sample in read(root) if isinstance(sample, Sample)]
    assert ids == ["mpii/train/a-0", "mpii/train/b-0", "mpii/train/a-1"]
    reader = MpiiReader(MpiiConfig(root, single_person=True))
    assert [sample.id for sample in reader.samples() if isinstance(sample, Sample)] == ["mpii/train/b-0"]
    assert len(reader) == 1


def test_images_lie_in_root_images_or_where_the_option_says(root: Path) -> None:
    write(root, [entry()])
    for folder in ("images", "elsewhere"):
        (root / folder).mkdir()
        (sample,) = read(root, images="elsewhere" if folder == "elsewhere" else "")
        assert isinstance(sample, Sample)
        assert sample.image == root / folder / "a.jpg"
    with pytest.raises(UserError, match="nowhere"):
        read(root, images="nowhere")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"joints_vis": [0] * 16}, "no visible joint"),
        ({"joints": [[float("nan"), 1.0]] * 16}, "not a number"),
        ({"joints": [[None, 1.0]] * 16}, "not a number"),
        ({"joints": [[1.0, 1.0]] * 15}, "16 joints expected"),
        ({"joints_vis": [1] * 15}, "16 joints expected"),
        ({"joints": "x"}, "malformed entry"),
        ({"image": "../../etc/passwd"}, "leaves the image root"),
        ({"image": "/etc/passwd"}, "leaves the image root"),
        ({"image": 7}, "malformed entry"),
        ({"image": "a\0.jpg"}, "can't be followed"),
    ],
)
def test_a_bad_person_is_refused_and_the_next_one_read(root: Path, changes: dict[str, Any], reason: str) -> None:
    write(root, [entry(**changes), entry("good.jpg")])
    bad, good = read(root)
    assert isinstance(bad, tuple)
    assert reason in bad[1]
    assert isinstance(good, Sample)


@pytest.mark.parametrize("broken", [None, "person", [1, 2], {}, {"image": "a.jpg"}])
def test_a_malformed_row_is_refused(root: Path, broken: Any) -> None:
    write(root, [broken, entry()])
    bad, good = read(root)
    assert isinstance(bad, tuple)
    assert bad[0].startswith("mpii/train/")
    assert "malformed" in bad[1]
    assert isinstance(good, Sample)


def test_an_unlabelled_joint_may_be_anything(root: Path) -> None:
    joints = [[float("nan"), 1.0], *entry()["joints"][1:]]
    write(root, [entry(joints=joints, joints_vis=[0] + [1] * 15)])
    (sample,) = read(root)
    assert isinstance(sample, Sample)
    assert sample.confidence[0] == 0
    assert np.isfinite(sample.keypoints2d).all()


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_person_without_scale_is_refused_only_if_the_box_needs_it(root: Path, scale: float) -> None:
    write(root, [entry(scale=scale)])
    assert isinstance(read(root)[0], Sample)
    (refused,) = read(root, box="scale")
    assert isinstance(refused, tuple)
    assert "scale" in refused[1]


@pytest.mark.parametrize("text", ['[{"image": "a.jp', "", "\udcff", '{"images": []}'])
def test_a_damaged_or_foreign_file_is_named(root: Path, text: str) -> None:
    path = root / "annot/train.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"train\.json.*HRNet"):
        read(root)


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        read(root)
    root.mkdir()
    with pytest.raises(UserError, match=r"annot/valid\.json.*mpii_human_pose_v1_u12_1\.mat"):
        read(root, split="valid")
    with pytest.raises(UserError, match="mine.json"):  # noqa: RUF043
        read(root, annotations="mine.json")


def test_the_only_list_in_the_folder_is_taken_and_several_are_listed(root: Path) -> None:
    write(root, [entry()], "people.json")
    write(root, {"not": "a list"}, "other.json")
    assert len(read(root)) == 1
    write(root, [entry()], "more.json")
    with pytest.raises(UserError, match=r"more\.json, people\.json"):
        read(root)


def structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB struct array (1, n) with the fields of the first row; a field that a row lacks is empty."""
    if not rows:
        return np.zeros((0, 0))
    names = list(dict.fromkeys(name for row in rows for name in row))
    array = np.empty((1, len(rows)), [(name, object) for name in names])
    for at, row in enumerate(rows):
        array[0, at] = tuple(row.get(name, np.zeros((0, 0))) for name in names)
    return array


def point(joint: int, visible: Any = None) -> dict[str, Any]:
    flag = {} if visible is None else {"is_visible": visible}
    return {"x": 10.0 + joint, "y": 20.0 + 2 * joint, "id": joint, **flag}


def person(points: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    head = {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
    position = structs([{"x": 18.0, "y": 35.0}])
    return {**head, "annopoints": structs([{"point": structs(points)}]), "scale": 0.4, "objpos": position, **more}


def write_release(path: Path, images: list[tuple[str, list[dict[str, Any]], int, list[int]]]) -> None:
    """RELEASE as MATLAB's own struct: (image name, people, img_train, single_person) of every image."""
    annolist = structs(
        [
            {
                "image": structs([{"name": name}]),
                "annorect": structs(people) if people else np.zeros((0, 0)),
                "frame_sec": np.zeros((0, 0)),
                "vididx": np.zeros((0, 0)),
            }
            for name, people, _, _ in images
        ]
    )
    single = np.empty((len(images), 1), object)
    for at, (*_, alone) in enumerate(images):
        single[at, 0] = np.array(alone, np.uint8).reshape(-1, 1)
    release = {
        "annolist": annolist,
        "img_train": np.array([[train for _, _, train, _ in images]], np.uint8),
        "version": "12",
        "single_person": single,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"RELEASE": structs([release])}, do_compression=True)


@pytest.fixture
def release(root: Path) -> Path:
    everything = [point(k, None if k in (8, 9) else np.uint8(k != 3)) for k in range(16)]
    write_release(
        root / "mpii_human_pose_v1_u12_1.mat",
        [
            ("015601864.jpg", [person(everything), {"scale": 1.0, "x1": 5.0}], 1, [1]),
            ("nobody.jpg", [], 1, []),
            ("testing.jpg", [{"scale": 2.0, "objpos": structs([{"x": 1.0, "y": 2.0}])}], 0, [1]),
            ("015599452.jpg", [person([point(9)]), person([point(0, "0"), point(5, "1")]), person([])], 1, []),
        ],
    )
    return root


def test_the_official_release(release: Path) -> None:
    entries = read(release)
    ids = [e.id if isinstance(e, Sample) else e[0] for e in entries]
    assert ids == [
        f"mpii/train/{name}" for name in ("015601864-0", "015601864-1", *(f"015599452-{k}" for k in range(3)))
    ]
    full = entries[0]
    assert isinstance(full, Sample)
    assert np.array_equal(full.keypoints2d, np.stack([9 + np.arange(16), 19 + 2 * np.arange(16)], -1))
    assert np.array_equal(full.confidence, np.where(np.arange(16) == 3, 0.5, 1))
    assert full.image == release / "015601864.jpg"


def test_single_points_and_flags_in_strings(release: Path) -> None:
    head, legs = read(release)[2:4]
    assert isinstance(head, Sample)
    assert head.confidence.nonzero()[0].tolist() == [9]
    assert isinstance(legs, Sample)
    assert {int(k): float(legs.confidence[k]) for k in legs.confidence.nonzero()[0]} == {0: 0.5, 5: 1.0}


def test_people_without_points_are_refused(release: Path) -> None:
    entries = read(release)
    for refused in (entries[1], entries[4]):
        assert isinstance(refused, tuple)
        assert "no visible joint" in refused[1]


def test_the_release_knows_who_stands_alone(release: Path) -> None:
    (alone,) = read(release, single_person=True)
    assert isinstance(alone, Sample)
    assert alone.id == "mpii/train/015601864-0"


def test_json_and_release_agree(root: Path, tmp_path: Path) -> None:
    write_release(
        root / "mpii_human_pose_v1_u12_1.mat", [("a.jpg", [person([point(k, 1) for k in range(16)])], 1, [1])]
    )
    write(tmp_path / "json", [entry()])
    for box in ("joints", "scale"):
        (ours,), (theirs,) = read(root, box=box), read(tmp_path / "json", box=box)
        assert isinstance(ours, Sample)
        assert isinstance(theirs, Sample)
        assert ours.id == theirs.id
        for field in ("keypoints2d", "confidence", "box"):
            assert getattr(ours, field) == pytest.approx(getattr(theirs, field))


def test_a_joint_that_mpii_has_not_is_refused(root: Path) -> None:
    write_release(root / "mpii_human_pose_v1_u12_1.mat", [("a.jpg", [person([point(16, 1)])], 1, [1])])
    (refused,) = read(root)
    assert isinstance(refused, tuple)
    assert "16" in refused[1]


def test_the_release_has_no_joints_for_other_splits(release: Path) -> None:
    with pytest.raises(UserError, match="'train' only"):
        read(release, split="valid")


def test_a_truncated_or_foreign_mat_is_named(release: Path) -> None:
    path = release / "mpii_human_pose_v1_u12_1.mat"
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], b"", b"MATLAB 7.3" * 50):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"u12_1\.mat.*RELEASE"):
            read(release)
    savemat(path, {"other": 1})
    with pytest.raises(UserError, match=r"u12_1\.mat.*RELEASE"):
        read(release)


def test_real_people_stand_where_the_labels_say(shared: Path) -> None:
    root = shared / "data/images/mpii"
    samples = read(root)
    assert len(samples) == 5
    for sample in samples:
        assert isinstance(sample, Sample)
        height, width = load_image(sample.image).shape[:2]
        labelled = sample.keypoints2d[sample.confidence > 0]
        assert len(labelled) >= 14
        assert ((labelled >= 0) & (labelled < (width, height))).all()
        assert ((labelled > sample.box[:2]) & (labelled < sample.box[2:])).all()
