"""What is particular to HybrIK as an estimator; the rest stands in tests/plugins/test_estimators.py."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_core.components import TrainableEstimator
from posesyn_core.engines.precision import in_precision
from posesyn_core.errors import PoseSynWarning, UserError
from posesyn_core.files.checkpoints import write_state_dict
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.cameras import project
from posesyn_core.inference.predict import exportable, predict
from posesyn_core.values import LabelledFrame, PoseEstimate, Sample
from posesyn_hybrik.annotations import read_people
from posesyn_hybrik.config import HybrikConfig
from posesyn_hybrik.estimator import Hybrik
from posesyn_hybrik.losses import depths_from_root
from posesyn_hybrik.weights import HybrikWeights

VARIANTS = ["resnet34", "hrnet_w48"]


def make(**options: object) -> Hybrik:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Hybrik(HybrikConfig(**options))  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=VARIANTS)
def estimator(request: pytest.FixtureRequest) -> Hybrik:
    return make(variant=request.param)


def sample(seed: int = 0) -> Sample:
    picture = np.random.default_rng(seed).integers(0, 255, (16, 12, 3)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
    return Sample("s", encode_png(picture), [30, 20, 90, 140], "smpl24", np.zeros((24, 2)), np.ones(24))


def estimate(estimator: Hybrik, one: Sample) -> PoseEstimate:
    ((found,),) = predict(estimator, [[one]])
    assert isinstance(found, PoseEstimate)
    return found


def test_both_variants_fit_the_protocol(estimator: Hybrik) -> None:
    assert isinstance(estimator, TrainableEstimator)
    module = exportable("hybrik", estimator)
    assert module.keep_fp32 == estimator.keep_fp32
    in_precision(module, "bf16")  # all that is kept in float32 is there


def test_the_plugin_module_imports_nothing_heavy() -> None:
    code = "import posesyn_hybrik.plugin, sys; print(sorted({'torch', 'cv2', 'scipy', 'smplx'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_estimate_does_not_depend_on_its_batch(estimator: Hybrik) -> None:
    """HRNet's camera is refined by a fit whose official fallback is the whole batch's; here it is each sample's."""
    samples = [sample(seed) for seed in range(3)]
    (together,) = predict(estimator, [samples])
    for one, expected in zip(samples, together, strict=True):
        assert isinstance(expected, PoseEstimate)
        np.testing.assert_allclose(estimate(estimator, one).joints3d, expected.joints3d, atol=1e-4)


@pytest.mark.parametrize("principal_point", ["box", "image"])
def test_decoded_parts_describe_one_body(estimator: Hybrik, principal_point: str) -> None:
    """The parameters pose the body whose joints are told, and the camera sees the root where the heatmap has it."""
    turned = make(variant=estimator.config.variant, principal_point=principal_point, refine_scale=False)
    found, one = estimate(turned, sample()), sample()
    assert found.smpl is not None
    smpl, camera = found.smpl, found.camera
    arrays = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    joints = turned.body.joints(*(torch.from_numpy(np.array(array)[None]) for array in arrays))[0].numpy()
    np.testing.assert_allclose(joints - joints[0], found.joints3d, atol=1e-3)
    np.testing.assert_allclose(project(joints, camera.focal_length, camera.principal_point), found.joints2d, atol=0.1)
    side = 1.25 * 120
    assert camera.focal_length == pytest.approx(1000 / 256 * side, rel=1e-5)
    np.testing.assert_allclose(camera.principal_point, [60, 80])  # this box lies in the middle of its picture
    with torch.inference_mode():
        prepared = turned.preprocess(one).tensors
        batch = {name: torch.from_numpy(value[None]) for name, value in prepared.items()}
        uvd = turned.network(**batch)["uvd"][0].numpy()
    np.testing.assert_allclose(found.joints2d[0], uvd[0, :2] * side + [60, 80], atol=0.1)


def test_the_principal_point_of_the_image_moves_the_camera_not_the_picture() -> None:
    shifted = Sample("s", sample().image, [5, 5, 50, 70], "smpl24", np.zeros((24, 2)), np.ones(24))
    box, image = (estimate(make(principal_point=name), shifted) for name in ("box", "image"))
    np.testing.assert_allclose(image.camera.principal_point, [60, 80])
    np.testing.assert_allclose(box.camera.principal_point, [27.5, 37.5])
    np.testing.assert_allclose(box.joints2d[0], image.joints2d[0], atol=0.1)


def test_the_flip_test_makes_a_mirrored_picture_the_mirrored_estimate(estimator: Hybrik) -> None:
    both = make(variant=estimator.config.variant, flip_test=True)
    with torch.inference_mode():
        images = torch.from_numpy(np.stack([both.preprocess(sample(seed)).tensors["images"] for seed in range(2)]))
        here, there = both.network.heads(images, True), both.network.heads(images.flip(3), True)
        alone = both.network.heads(images, False)
    torch.testing.assert_close(here["scale"], there["scale"])
    torch.testing.assert_close(here["shape"], there["shape"])
    assert (here["shape"] - alone["shape"]).abs().max() > 1e-4


def frame(image: bytes) -> LabelledFrame:
    return LabelledFrame("f", image, [30, 20, 90, 140], np.full((24, 2), 70.0), np.ones(24))


def test_a_2d_label_trains_the_joints_alone(estimator: Hybrik) -> None:
    image = sample().image
    assert isinstance(image, bytes)
    item = estimator.training_inputs(frame(image), np.random.default_rng(0))
    assert item["uvd_weight"].sum() == 2 * 10  # u and v of knees, ankles, shoulders, elbows and wrists
    terms = estimator.training_loss({name: torch.from_numpy(value[None]) for name, value in item.items()})
    assert [float(terms[name].detach()) for name in ("betas", "pose", "twist", "scale")] == [0, 0, 0, 0]
    assert float(terms["uvd"].detach()) != 0
    assert ("trans" in terms) == (estimator.config.variant == "resnet34")


def test_loss_weights_are_options(estimator: Hybrik) -> None:
    image = sample().image
    assert isinstance(image, bytes)
    item = estimator.training_inputs(frame(image), np.random.default_rng(0))
    batch = {name: torch.from_numpy(value[None]) for name, value in item.items()}
    heavier = make(variant=estimator.config.variant, uvd_loss_weight=3.0)
    light, heavy = estimator.training_loss(batch), heavier.training_loss(batch)
    assert float((heavy["loss"] - light["loss"]).detach()) == pytest.approx(2 * float(light["uvd"].detach()), rel=1e-4)


@pytest.mark.parametrize("style", ["h36m", "pw3d"])
@pytest.mark.parametrize("uvd_loss", ["laplace", "l1"])
def test_it_trains_on_the_official_files(shared: Path, tmp_path: Path, style: str, uvd_loss: str) -> None:
    pack = shared / "parity" / "hybrik"
    people = list(read_people(pack / f"sample_{style}_style.json", tmp_path))
    picture = np.random.default_rng(0).integers(0, 255, (160, 200, 3)).astype(np.uint8)
    for person in people:
        assert isinstance(person.image, Path)
        person.image.parent.mkdir(parents=True, exist_ok=True)
        person.image.write_bytes(encode_png(picture))
    trained = make(uvd_loss=uvd_loss)
    items = [trained.training_inputs(person, np.random.default_rng(at)) for at, person in enumerate(people)]
    batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-3)
    values = []
    for _ in range(10):
        loss = trained.training_loss(batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0]


def test_twenty_steps_of_the_hrnet_lower_the_loss() -> None:
    trained = make(variant="hrnet_w48")
    image = sample().image
    assert isinstance(image, bytes)
    items = [trained.training_inputs(frame(image), np.random.default_rng(seed)) for seed in range(8)]
    batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-3)
    values = []
    for _ in range(20):
        loss = trained.training_loss(batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] - 0.1


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_saved_weights_load_again_as_their_variant(estimator: Hybrik, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    estimator.save(path)
    again = make(weights=str(path))
    ours, theirs = estimator.network.state_dict(), again.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    fit = HybrikWeights().check(path)
    assert fit.fits
    assert estimator.config.variant in fit.variant
    other = next(variant for variant in VARIANTS if variant != estimator.config.variant)
    with pytest.raises(UserError, match=f"variant '{estimator.config.variant}'"):
        make(weights=str(path), variant=other)


def test_older_files_without_uncertainty_and_with_a_row_of_betas(tmp_path: Path) -> None:
    state = {name: value for name, value in make().network.state_dict().items() if not name.startswith("decsigma")}
    state["init_shape"] = state["init_shape"][None]
    torch.save({"model": state}, tmp_path / "older.pth")
    assert HybrikWeights().check(tmp_path / "older.pth").fits
    assert make(weights=str(tmp_path / "older.pth")).image_size == 256


def test_weights_without_a_body_want_one(tmp_path: Path) -> None:
    state = {name: value for name, value in make().network.state_dict().items() if not name.startswith("smpl.")}
    write_state_dict(state, tmp_path / "bare.safetensors")
    with pytest.raises(UserError, match="set the option body to your SMPL file"):
        make(weights=str(tmp_path / "bare.safetensors"))
    with pytest.warns(PoseSynWarning, match="bone lengths are not"):
        make(weights=str(tmp_path / "bare.safetensors"), body="free")


def test_a_truncated_file_is_refused(estimator: Hybrik, tmp_path: Path) -> None:
    for suffix in (".safetensors", ".pth"):
        path = tmp_path / f"w{suffix}"
        estimator.save(path)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(UserError, match=f"w{suffix}"):
            make(weights=str(path))


def test_depths_without_a_pelvis_are_compared_about_the_hips() -> None:
    random = np.random.default_rng(0)
    uvd = torch.from_numpy(random.normal(0, 0.1, (2, 29, 3)))
    weight = torch.ones(2, 29, 3)
    weight[0, 0, 2] = 0
    moved = depths_from_root(uvd + torch.tensor([0, 0, 0.3]), weight)
    torch.testing.assert_close(moved[1], uvd[1] + torch.tensor([0, 0, 0.3]), rtol=0, atol=0)
    torch.testing.assert_close(moved[0, :, 2], uvd[0, :, 2] - uvd[0, [1, 2], 2].mean())
    torch.testing.assert_close(moved[0, :, :2], uvd[0, :, :2], rtol=0, atol=0)
