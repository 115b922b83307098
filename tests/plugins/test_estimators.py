"""What every estimator must do, whoever's plugin it is: a line in ``ESTIMATORS`` puts one under all of these tests."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tomli_w
import torch
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from posesyn_blazepose.units import plain_weights
from posesyn_core.components import Kind, SplitEstimator, TrainableEstimator
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.errors import PoseSynWarning, SampleError, UserError
from posesyn_core.files.checkpoints import Fit, read_checkpoint, read_state_dict, write_state_dict
from posesyn_core.files.images import encode_png, load_image
from posesyn_core.geometry.joints import frame_in
from posesyn_core.geometry.skeletons import SMPL24, joint_set
from posesyn_core.inference.predict import exportable, predict
from posesyn_core.pipeline.finetune import training_defaults
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.score import score
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.seeds import rng
from posesyn_core.values import Image, LabelledFrame, PoseEstimate, Sample
from tests.tiny import people

pytestmark = pytest.mark.filterwarnings("ignore::posesyn_core.errors.PoseSynWarning")

Outputs = dict[str, NDArray[np.float32]]
EDGE = 60
"""Pixels between the picture and the edge of a wider one; crops reach beyond the picture."""
MIRROR = np.array([-1, 1, 1], np.float32)
WIDE = 448
"""Pixels of the crops in which the networks of the plugin blazepose look twice."""


@frozen
class Row:
    """An estimator under test.

    ``options`` make it small and untrained. ``suffix`` is that of the official file, which ``save`` writes for a path
    that ends so. ``mirror`` turns the network's outputs into those for the mirrored person. ``image`` is the name of
    the network's picture (B, 3, H, W), and ``white`` the brightest level in it where that is not about 1. ``centre``
    is the crop's pixel onto which the box's centre falls, as an offset from size / 2: 0 where it is size / 2 itself,
    -0.5 where it is (size - 1) / 2. ``brings_body`` says that its file needs no SMPL body beside it, ``smpl`` that its
    estimates are bodies at all, ``half`` that converting halves the precision. ``rate`` is the learning rate of the
    test of training.
    """

    name: str
    suffix: str
    mirror: Callable[[Outputs], Outputs]
    options: Mapping[str, Any] = {"weights": "random"}
    image: str = "images"
    white: float = 1
    centre: float = 0.0
    brings_body: bool = False
    smpl: bool = True
    half: bool = False
    rate: float = 1e-4


def mirror_rotations(rotmat: NDArray[np.float32]) -> NDArray[np.float32]:
    """SMPL's rotations (B, 24, 3, 3) of the mirrored body: sides swapped, and M R M with M = diag(-1, 1, 1)."""
    return (MIRROR[:, None] * rotmat[:, SMPL24.flip] * MIRROR).astype(np.float32)


def mirror_spin(outputs: Outputs) -> Outputs:
    camera = outputs["cam"] * np.array([1, -1, 1], np.float32)
    return {**outputs, "rotmat": mirror_rotations(outputs["rotmat"]), "cam": camera}


def mirror_hmr2(outputs: Outputs) -> Outputs:
    rotmat = mirror_rotations(np.concatenate([outputs["global_orient"], outputs["body_pose"]], axis=1))
    camera = outputs["cam"] * np.array([1, -1, 1], np.float32)
    return {**outputs, "global_orient": rotmat[:, :1], "body_pose": rotmat[:, 1:], "cam": camera}


def mirror_crowdnet(outputs: Outputs) -> Outputs:
    camera = outputs["cam"] * np.array([-1, 1, 1], np.float32)
    return {**outputs, "rotmat": mirror_rotations(outputs["rotmat"]), "cam": camera}


def mirror_hybrik(outputs: Outputs) -> Outputs:
    mirrored = {name: outputs[name] * MIRROR for name in ("root", "transl")}
    joints = outputs["joints"][:, SMPL24.flip] * MIRROR
    return {**outputs, **mirrored, "joints": joints, "rotmat": mirror_rotations(outputs["rotmat"])}


def mirror_starter(outputs: Outputs) -> Outputs:
    square = outputs["square"] * np.array([-1, 1, 1, -1], np.float32) + np.array([WIDE, 0, 0, 0], np.float32)
    transl = outputs["transl"] * MIRROR
    return {**outputs, "rotmat": mirror_rotations(outputs["rotmat"]), "transl": transl, "square": square}


def mirror_blazepose(outputs: Outputs) -> Outputs:
    sides = joint_set("blazepose33").flip
    points, world = outputs["points"][:, sides] * MIRROR[:2], outputs["world"][:, sides] * MIRROR
    return {**outputs, "points": points, "world": world, "confidence": outputs["confidence"][:, sides]}


ESTIMATORS = [
    Row("spin", ".pt", mirror_spin),
    Row("crowdnet", ".pth.tar", mirror_crowdnet, centre=0.88, rate=1e-3),  # its boxes lose a pixel on the right
    Row("hmr2", ".ckpt", mirror_hmr2),
    Row("hybrik", ".pth", mirror_hybrik, brings_body=True, rate=1e-3),
    Row("starter", ".safetensors", mirror_starter, white=255, brings_body=True, rate=1e-3),
    Row(
        "blazepose",
        ".safetensors",
        mirror_blazepose,
        options={"weights": "random", "first_look": "same"},
        white=255,
        brings_body=True,
        smpl=False,
        half=True,
        rate=3e-3,
    ),
]


@pytest.fixture(params=ESTIMATORS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


@cache
def registry() -> Registry:
    return Registry.discover()


def make(row: Row, **options: Any) -> TrainableEstimator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return registry().create(Kind.ESTIMATOR, row.name, {**row.options, **options}, "test")


@cache
def made(name: str) -> TrainableEstimator:
    """One untrained estimator for all tests that don't change it."""
    return make(next(row for row in ESTIMATORS if row.name == name))


def picture(seed: int) -> Image:
    """Soft random colours, 160x120."""
    small = np.random.default_rng(seed).integers(0, 256, (16, 12, 3)).astype(np.uint8)
    return cv2.resize(small, (120, 160), interpolation=cv2.INTER_CUBIC)


def sample(seed: int = 0, image: Image | None = None) -> Sample:
    random = np.random.default_rng(seed)
    joints = random.uniform([35, 30], [85, 130], (24, 2))
    pixels = picture(seed) if image is None else image
    return Sample(f"s/{seed}", encode_png(pixels), (30, 20, 90, 140), "smpl24", joints, np.ones(24))


def set_of(estimator: SplitEstimator) -> str:
    return getattr(estimator, "joint_set", SMPL24.name)


def flip_of(estimator: SplitEstimator) -> NDArray[np.intp]:
    return joint_set(set_of(estimator)).flip


def estimates(estimator: SplitEstimator, samples: list[Sample], batch: int) -> list[PoseEstimate]:
    batches = [samples[at : at + batch] for at in range(0, len(samples), batch)]
    found = [result for results in predict(estimator, batches) for result in results]
    assert all(isinstance(result, PoseEstimate) for result in found)
    return found  # type: ignore[return-value]


def outputs(estimator: SplitEstimator, samples: list[Sample]) -> tuple[Outputs, list[Any]]:
    """The network's outputs for the samples, and their contexts."""
    prepared = [estimator.preprocess(one) for one in samples]
    batch = {
        name: torch.from_numpy(np.stack([item.tensors[name] for item in prepared])) for name in prepared[0].tensors
    }
    with torch.inference_mode():
        found = estimator.network.eval()(**batch)
    return {name: tensor.numpy() for name, tensor in found.items()}, [item.context for item in prepared]


def test_it_fits_the_protocol_and_exports_what_it_preprocesses(row: Row) -> None:
    estimator = made(row.name)
    assert isinstance(estimator, SplitEstimator)
    assert isinstance(estimator, TrainableEstimator)
    module = exportable(row.name, estimator)
    assert module.example.keys() == estimator.preprocess(sample()).tensors.keys()
    assert module.example[row.image].shape[:2] == (2, 3)


def test_prediction_does_not_depend_on_the_batch(row: Row) -> None:
    samples = [sample(seed) for seed in range(5)]
    together, alone = (estimates(made(row.name), samples, batch) for batch in (5, 1))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.joints3d, other.joints3d, atol=1e-4)
        np.testing.assert_allclose(one.joints2d, other.joints2d, atol=0.1)


@settings(max_examples=8)
@given(x=st.integers(0, 150), y=st.integers(0, 90))
@pytest.mark.parametrize("row", ESTIMATORS, ids=lambda row: row.name)
def test_moving_picture_and_box_moves_the_estimate(row: Row, x: int, y: int) -> None:
    """A person elsewhere in a larger picture is the same person: the crop is what counts."""
    wide = np.zeros((160 + 90 + 2 * EDGE, 120 + 150 + 2 * EDGE, 3), np.uint8)
    estimator, placed = made(row.name), sample(image=_in(wide, 0, 0))
    still = evolve(placed, box=placed.box + EDGE, keypoints2d=placed.keypoints2d + EDGE)
    offset = np.array([x, y], np.float32)
    moved = evolve(
        still,
        image=encode_png(_in(wide, x, y)),
        box=still.box + np.tile(offset, 2),
        keypoints2d=still.keypoints2d + offset,
    )
    before, after = (crop(row, one) for one in (still, moved))
    np.testing.assert_allclose(before, after, atol=0.02)  # an 8-bit step of the normalised crop
    first, second = estimates(estimator, [still, moved], 2)
    np.testing.assert_allclose(first.joints3d, second.joints3d, atol=2e-3)
    np.testing.assert_allclose(first.joints2d + offset, second.joints2d, atol=0.3)


def crop(row: Row, one: Sample) -> NDArray[np.float32]:
    """What the network is given to see of a sample, (3, H, W), about 1 from black to white."""
    return np.asarray(made(row.name).preprocess(one).tensors[row.image], np.float32) / row.white


def _in(wide: Image, x: int, y: int) -> Image:
    """The picture, ``EDGE`` + (x, y) from the corner of a wider one: crops end in its black, not at its edge."""
    drawn = wide.copy()
    drawn[EDGE + y : EDGE + y + 160, EDGE + x : EDGE + x + 120] = picture(0)
    return drawn


def mirrored(one: Sample) -> Sample:
    """The sample in a mirror: pixel column u goes to W - 1 - u, and left joints become right ones."""
    image = np.ascontiguousarray(load_image(one.image)[:, ::-1])
    last = image.shape[1] - 1
    joints = np.column_stack([last - one.keypoints2d[:, 0], one.keypoints2d[:, 1]])[SMPL24.flip]
    x0, y0, x1, y1 = one.box
    return evolve(one, image=encode_png(image), box=(last - x1, y0, last - x0, y1), keypoints2d=joints)


def test_the_crop_of_a_mirrored_picture_is_the_mirrored_crop(row: Row) -> None:
    """Exactly so about the pixel on which the box's centre falls; whole-pixel crops may be off by one pixel."""
    plain, flipped = (crop(row, one) for one in (sample(), mirrored(sample())))
    shift = round(2 * row.centre) + 1  # the columns that the mirror moves out of the crop
    ours, theirs = plain[..., shift:][..., ::-1], flipped[..., shift:]
    assert np.abs(ours - theirs).mean() < 0.02
    assert np.abs(plain - flipped).mean() > 0.2


def test_mirrored_outputs_decode_to_the_mirrored_estimate(row: Row) -> None:
    """decode(mirror(outputs)) about the mirrored box = mirrored decode(outputs); the free body is symmetric to 2 cm."""
    estimator, one = made(row.name), sample()
    found, contexts = outputs(estimator, [one])
    _, mirrored_contexts = outputs(estimator, [mirrored(one)])
    (plain,) = estimator.decode(found, contexts)
    (flipped,) = estimator.decode(row.mirror(found), mirrored_contexts)
    sides = flip_of(estimator)
    np.testing.assert_allclose(flipped.joints3d, plain.joints3d[sides] * MIRROR, atol=0.02)
    expected = np.column_stack([119 - plain.joints2d[:, 0], plain.joints2d[:, 1]])[sides]
    metre = float(plain.camera.focal_length[0]) / _distance(plain)
    np.testing.assert_allclose(flipped.joints2d, expected, atol=0.02 * metre + 0.5)


def _distance(estimate: PoseEstimate) -> float:
    """Metres to the person; where an estimator tells no translation, from the size of its projection."""
    if estimate.smpl is not None:
        return float(estimate.smpl.transl[2])
    spread3d, spread2d = (np.ptp(joints[:, :2], axis=0).max() for joints in (estimate.joints3d, estimate.joints2d))
    return float(estimate.camera.focal_length[0] * spread3d / spread2d)


@pytest.mark.parametrize("box", [(500, 500, 600, 600), (9, 9, 9, 9), (0, 0, np.nan, 9)])
def test_a_bad_box_is_a_bad_sample(row: Row, box: tuple[float, float, float, float]) -> None:
    with pytest.raises(SampleError, match="box"):
        made(row.name).preprocess(evolve(sample(), box=box))


def frames(count: int) -> list[LabelledFrame]:
    """Rendered people with all labels."""
    return [
        LabelledFrame(
            id=one.id,
            image=one.image,
            box=one.box,
            joints2d=one.keypoints2d,
            confidence=one.confidence,
            camera=one.camera,
            joints3d=one.joints3d,
            smpl=one.smpl,
        )
        for one in people(count)
    ]


def body_of(row: Row) -> dict[str, str]:
    """The option of the free body, where there is one."""
    return {"body": "free"} if row.smpl else {}


def training_batch(estimator: TrainableEstimator, count: int) -> dict[str, torch.Tensor]:
    own = [frame_in(frame, set_of(estimator)) for frame in frames(count)]
    items = [estimator.training_inputs(frame, rng(0, frame.id, "augment")) for frame in own]
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


def test_a_training_item_depends_on_its_draw_alone(row: Row) -> None:
    estimator = made(row.name)
    frame = frame_in(frames(1)[0], set_of(estimator))
    first, same, other = (estimator.training_inputs(frame, rng(0, "frame", stage)) for stage in ("a", "a", "b"))
    for name, values in first.items():
        np.testing.assert_array_equal(values, same[name])
        assert values.shape == other[name].shape
    assert np.abs(first[row.image] - other[row.image]).max() > 0


def test_twenty_steps_on_eight_frames_lower_the_loss_and_the_weights_load_again(row: Row, tmp_path: Path) -> None:
    estimator = make(row)
    batch = training_batch(estimator, 8)
    optimiser = torch.optim.Adam(estimator.parameters(), lr=row.rate)
    losses = []
    for _ in range(20):
        loss = estimator.training_loss(batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]
    for suffix in (".safetensors", row.suffix):
        path = tmp_path / f"trained{suffix}"
        estimator.save(path)
        again = make(row, weights=str(path), **body_of(row))
        (expected,), (found,) = (estimates(one, [sample()], 1) for one in (estimator, again))
        if suffix == ".safetensors":  # the official file does not say how our small network wants its crops
            np.testing.assert_allclose(found.joints3d, expected.joints3d, atol=1e-5)
        assert state_of(again).keys() == state_of(estimator).keys()
        for name, tensor in state_of(estimator).items():
            torch.testing.assert_close(state_of(again)[name], tensor)


def test_mixed_precision_trains_nearly_the_same(row: Row) -> None:
    """``finetune.precision`` bf16: the loss is float32 and near that of float32, and every gradient is finite."""
    estimator = make(row)
    batch = training_batch(estimator, 4)
    exact = estimator.training_loss(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        loss = estimator.training_loss(batch)["loss"]
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.1)
    loss.backward()
    gradients = [weight.grad for weight in estimator.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def loss_of(estimator: TrainableEstimator, frame: LabelledFrame) -> float:
    item = estimator.training_inputs(frame_in(frame, set_of(estimator)), rng(0, "frame", "augment"))
    batch = {name: torch.from_numpy(np.stack([values])) for name, values in item.items()}
    return float(estimator.training_loss(batch)["loss"].detach())


def measured(frame: LabelledFrame, known: tuple[int, ...], **moved: float) -> LabelledFrame:
    """The frame as of a data set that has some of SMPL's joints in 3D and no body; ``moved`` joints, by metres."""
    assert frame.joints3d is not None
    joints = frame.joints3d - frame.joints3d[[1, 2]].mean(0)
    for name, metres in moved.items():
        joints[SMPL24.joints.index(name)] += metres
    return evolve(frame, smpl=None, joints3d=joints, confidence3d=np.isin(np.arange(24), known))


LIMBS = (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20)
"""The hips and limbs of SMPL but for the right wrist."""


@settings(max_examples=3)
@given(metres=st.floats(-0.5, 0.5).filter(lambda metres: abs(metres) > 0.05))
@pytest.mark.parametrize("row", ESTIMATORS, ids=lambda row: row.name)
def test_a_frame_with_some_3d_joints_trains_on_those_alone(row: Row, metres: float) -> None:
    estimator, frame = made(row.name), frames(1)[0]
    some = loss_of(estimator, measured(frame, LIMBS))
    assert loss_of(estimator, measured(frame, LIMBS, right_wrist=metres, pelvis=metres, head=-metres)) == some
    assert loss_of(estimator, measured(frame, LIMBS, left_wrist=metres)) != some
    assert loss_of(estimator, evolve(frame, smpl=None, joints3d=None)) != some


def test_a_frame_with_all_3d_joints_trains_as_one_that_says_so(row: Row) -> None:
    estimator, frame = made(row.name), frames(1)[0]
    assert loss_of(estimator, evolve(frame, confidence3d=np.ones(24))) == loss_of(estimator, frame)


def test_a_frame_of_unknown_shape_teaches_none(row: Row) -> None:
    """Whatever its betas say; its joints and its pose are learnt from all the same."""
    if not row.smpl:
        pytest.skip("its estimates are no bodies")
    estimator, frame = made(row.name), frames(1)[0]
    assert frame.smpl is not None
    vague = [evolve(frame, smpl=evolve(frame.smpl, betas=betas, shape_known=False)) for betas in np.eye(10)[:2]]
    first, second = (loss_of(estimator, each) for each in vague)
    assert first == second
    posed = evolve(vague[0], smpl=evolve(vague[0].smpl, body_pose=-frame.smpl.body_pose))
    assert loss_of(estimator, posed) != first


FIXED = ("head.trust.weight", "head.pull.rates")
"""Weights of the starter that begin as they are, whatever is drawn."""


def test_training_from_scratch_starts_from_untrained_weights_of_the_same_size(row: Row) -> None:
    estimator = make(row)
    size = {name: tensor.shape for name, tensor in state_of(estimator).items()}
    drawn = []
    for seed in (1, 2, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            estimator.reinitialise()  # type: ignore[attr-defined]
        drawn.append({name: tensor.clone() for name, tensor in state_of(estimator).items()})
    first, other, again = drawn
    assert {name: tensor.shape for name, tensor in first.items()} == size
    for name, tensor in first.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)
    learned = {id(parameter) for parameter in estimator.parameters()}
    weights = [
        name.replace(".parametrizations", "").removesuffix(".original").removeprefix("second.")
        for name, tensor in estimator.network.named_parameters()
        if id(tensor) in learned and tensor.dim() > 1
    ]
    assert weights
    assert all(not torch.equal(first[name], other[name]) for name in weights if name not in FIXED)
    assert np.isfinite(estimates(estimator, [sample()], 1)[0].joints3d).all()


PUBLISHED = TrainingDefaults(decay="constant", warm_up=0.0, max_gradient=0.0, mode="train")
PAPER = {
    "crowdnet": (evolve(PUBLISHED, learning_rate=1e-5, batch_size=64, epochs=10), {"learning_rate": 1e-4}),
    "hmr2": (
        evolve(PUBLISHED, learning_rate=1e-5, batch_size=32, steps=200_000, weight_decay=1e-4),
        {"learning_rate": 1e-4, "batch_size": 384, "steps": 500_000},
    ),
    "hybrik": (
        evolve(PUBLISHED, learning_rate=1e-4, batch_size=64, epochs=40, max_gradient=5.0, clip="each"),
        {"learning_rate": 1e-3, "batch_size": 256, "epochs": 120, "decay": "steps", "milestones": (0.75,)},
    ),
    "blazepose": (TrainingDefaults(learning_rate=1e-4, batch_size=32, steps=600), {"mode": "train"}),
    "starter": (TrainingDefaults(learning_rate=1e-4, batch_size=32, steps=300), {"mode": "train"}),
    "spin": (
        TrainingDefaults(learning_rate=5e-5, batch_size=64, epochs=50, decay="constant"),
        {"warm_up": 0.0, "max_gradient": 0.0, "mode": "train"},
    ),
}
"""PoseSyn's supplement A; SPIN's own paper; for BlazePose and the starter, of which nothing is published, what they are
tuned by. Weight decay and clipping as in the official code, and beside each what changes from scratch."""


def test_training_defaults_are_the_published_ones(row: Row) -> None:
    tuning, changes = PAPER[row.name]
    assert training_defaults(made(row.name)) == tuning
    assert training_defaults(made(row.name), from_scratch=True) == evolve(tuning, **changes)


DATA = {"mpii": "test_mpii.json", "coco": "test_coco.json"}


@pytest.mark.slow
def test_real_pictures_are_ranked_alike_by_eager_torch_and_onnx_runtime(
    row: Row, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path / "cache"))
    made(row.name).save(tmp_path / "w.safetensors")
    options = {"name": row.name, **row.options, "weights": str(tmp_path / "w.safetensors"), **body_of(row)}
    for name, annotations in DATA.items():
        dataset = {"name": name, "root": str(shared / "data" / "images" / name), "annotations": annotations}
        eager, onnx = (
            scores(tmp_path / name / engine, dataset, {**options, "engine": engine}) for engine in ("torch", "onnx")
        )
        assert len(eager) >= 4
        assert sorted(eager, key=lambda sample: eager[sample]) == sorted(onnx, key=lambda sample: onnx[sample])
        assert [onnx[sample] for sample in eager] == pytest.approx(list(eager.values()), rel=1e-3)


def scores(folder: Path, dataset: Mapping[str, Any], estimator: Mapping[str, Any]) -> dict[str, float]:
    """Eq. 1 of every sample, by its id."""
    recipe = {"dataset": dataset, "estimator": estimator, "score": {"min_weight": 0.2}}
    run = create_run(folder, parse_recipe(tomli_w.dumps(recipe)), registry())
    score(run)
    return {scored.sample.id: scored.error for scored in run.scored.values()}


def state_of(estimator: SplitEstimator) -> dict[str, torch.Tensor]:
    """The weights that its file holds, plain also where they are learnt in other units.

    BlazePose's are those of its second look.
    """
    return dict(plain_weights(getattr(estimator.network, "second", estimator.network)))


def check(row: Row, path: Path) -> Fit:
    weights = registry().find(Kind.ESTIMATOR, row.name).component.weights
    assert weights is not None
    return weights().check(path)


@pytest.fixture
def official(row: Row, tmp_path: Path) -> Path:
    """A small file in the official layout."""
    path = tmp_path / f"official{row.suffix}"
    made(row.name).save(path)
    return path


def test_check_and_convert_an_official_file(row: Row, official: Path, tmp_path: Path) -> None:
    fit = check(row, official)
    assert fit.fits
    assert fit.variant
    weights = registry().find(Kind.ESTIMATOR, row.name).component.weights
    assert weights is not None
    weights().convert(official, tmp_path / "converted.safetensors")
    assert check(row, tmp_path / "converted.safetensors").fits
    converted = read_state_dict(tmp_path / "converted.safetensors")
    close = {"atol": 1e-3, "rtol": 1e-3} if row.half else {"atol": 1e-5, "rtol": 1.3e-6}
    for name, tensor in state_of(made(row.name)).items():
        torch.testing.assert_close(converted[name], tensor.float() if tensor.is_floating_point() else tensor, **close)


def test_half_precision_weights_are_widened(row: Row, tmp_path: Path) -> None:
    made(row.name).save(tmp_path / "full.safetensors")
    state = read_checkpoint(tmp_path / "full.safetensors")
    write_state_dict(state, tmp_path / "half.safetensors", {}, torch.float16)
    again = make(row, weights=str(tmp_path / "half.safetensors"), **body_of(row))
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    for name, tensor in state_of(made(row.name)).items():
        torch.testing.assert_close(state_of(again)[name], tensor, atol=1e-3, rtol=1e-3)


def test_published_weights_want_an_smpl_file(row: Row, official: Path) -> None:
    """The policy of ``posesyn_core.body.agreement.body_for_checkpoint``, for all alike."""
    if row.brings_body:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PoseSynWarning)
            make(row, weights=str(official))
        return
    with pytest.raises(UserError, match="set the option body to your SMPL file"):
        make(row, weights=str(official))
    with pytest.warns(PoseSynWarning, match="bone lengths are not"):
        make(row, weights=str(official), body="free")


def test_a_missing_body_file_is_named(row: Row) -> None:
    if not row.smpl:
        pytest.skip("its estimates are no bodies")
    with pytest.raises(UserError, match=r"missing\.npz"):
        make(row, body="missing.npz")


def test_weights_of_another_variant_are_refused_with_names(row: Row, tmp_path: Path) -> None:
    state = state_of(made(row.name))
    name = next(name for name, tensor in state.items() if tensor.dim() == 4)
    wider = {**state, name: torch.zeros(*(2 * size for size in state[name].shape))}
    write_state_dict(wider, tmp_path / "wider.safetensors")
    assert not check(row, tmp_path / "wider.safetensors").fits
    for path, content in {"wider": wider, "other": {"encoder.weight": torch.zeros(3)}}.items():
        write_state_dict(content, tmp_path / f"{path}.safetensors")
        with pytest.raises(UserError, match=rf"{path}\.safetensors") as raised:
            make(row, weights=str(tmp_path / f"{path}.safetensors"), **body_of(row))
        assert "\n" not in str(raised.value)


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        import os

        return (os.system, ("touch touched",))


def test_a_tampered_file_runs_nothing(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{row.suffix}"
    torch.save({"state_dict": Payload(), "model": Payload(), "network": Payload()}, path)
    for attempt in (lambda: make(row, weights=str(path)), lambda: check(row, path)):
        with pytest.raises(UserError, match="evil"):
            attempt()
    assert not (tmp_path / "touched").exists()
