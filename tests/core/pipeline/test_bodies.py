"""One body a run: that of the estimator which is trained. Labels are of it, and what poses another body is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import tomli_w
import torch

from posesyn_core.body.agreement import body_difference
from posesyn_core.body.model import FREE_BODY, Body, load_body, save_body
from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.geometry.cameras import project
from posesyn_core.pipeline.animate import animate
from posesyn_core.pipeline.bodies import FILE, RECORD
from posesyn_core.pipeline.run import EASY, HARD, Run, Selected, create_run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry
from posesyn_core.values import Motion, PoseEstimate, Sample, ScoredSample, SmplParams
from posesyn_crowdnet.network import CrowdNetwork, Sizes
from posesyn_crowdnet.weights import SMALL as SMALL_CROWDNET
from posesyn_crowdnet.weights import save_network as save_crowdnet
from posesyn_hmr2.network import Hmr2Network
from posesyn_hmr2.weights import SMALL as SMALL_HMR2
from tests.tiny import people

ESTIMATORS = ("hmr2", "hybrik", "crowdnet", "spin")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def smpl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for SMPL's file: another person than the free body, who differs by shape and bends at the joints."""
    with np.load(FREE_BODY) as file:
        arrays = {name: file[name] for name in ("v_template", "J_regressor", "weights", "f", "kintree_table")}
        arrays["shapedirs"] = np.roll(file["shapedirs"], 1, axis=-1)
    arrays["v_template"] = arrays["v_template"] * np.float32([1.06, 0.94, 1.1])
    arrays["posedirs"] = 1e-3 * np.random.default_rng(1).normal(size=(*arrays["v_template"].shape, 207))
    path = tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.npz"
    np.savez(path, **arrays)
    return path


def checkpoint(name: str, smpl: Path, folder: Path, registry: Registry) -> dict[str, str]:
    """The options of an estimator with a small untrained checkpoint in the official layout that brings ``smpl``."""
    body = load_body(smpl)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        match name:
            case "hmr2":
                entries = {
                    "v_template": body.v_template, "shapedirs": body.shapedirs, "posedirs": body.posedirs,
                    "J_regressor": body.J_regressor, "lbs_weights": body.weights, "faces_tensor": body.faces,
                }  # fmt: skip
                state = {f"smpl.{entry}": tensor.contiguous() for entry, tensor in entries.items()}
                path = folder / "hmr2.ckpt"
                torch.save({"state_dict": {**Hmr2Network(SMALL_HMR2).state_dict(), **state}}, path)
            case "crowdnet":
                sizes = attrs.evolve(SMALL_CROWDNET, vertices=len(body.v_template), faces=len(body.faces))
                path = folder / "snapshot_9.pth.tar"
                save_crowdnet(_carrying(sizes, body), "smpl", path)
            case _:  # HybrIK's own file brings the body that it was made with; SPIN's brings none
                path = folder / ("hybrik.pth" if name == "hybrik" else "spin.pt")
                registry.create(Kind.ESTIMATOR, name, {"weights": "random", "body": str(smpl)}, "test").save(path)
    return {"weights": str(path), **({"body": str(smpl)} if name == "spin" else {})}


def _carrying(sizes: Sizes, body: Body) -> CrowdNetwork:
    network = CrowdNetwork(sizes)
    buffers = network.human_model_layer
    assert buffers is not None
    buffers.th_v_template.copy_(body.v_template[None])
    buffers.th_shapedirs.copy_(body.shapedirs)
    buffers.th_posedirs.copy_(body.posedirs.mT.unflatten(0, (-1, 3)))
    buffers.th_weights.copy_(body.weights)
    buffers.th_J_regressor.copy_(body.J_regressor)
    buffers.th_faces.copy_(body.faces)
    return network


Make = Callable[..., Run]


@pytest.fixture
def mined(tmp_path: Path, registry: Registry) -> Make:
    """``mined(estimator, **sections)``: a run that has come as far as ``animate``, its estimates of ``estimated``."""

    def make(estimator: dict[str, Any], estimated: Path | None = None, **sections: Any) -> Run:
        recipe = {
            "dataset": {"name": "world", "count": 2}, "estimator": estimator, "export": {"formats": ["hmr2", "hybrik"]},
            "filter": {"name": "tpe_error", "tau": 1e9}, **sections,
        }  # fmt: skip
        run = create_run(tmp_path / "run", parse_recipe(tomli_w.dumps(recipe)), registry)
        easy, hard = people(2, "lab")
        for unit, role in ((easy, EASY), (hard, HARD)):
            scored = ScoredSample(unit, 0.0, np.zeros(24, np.float32), _estimate(unit, load_body(estimated)), "smpl24")
            run.selected.write_part(int(role == HARD), [Row(unit.id, Selected(role, 0, scored))])
        joints = np.repeat(load_body().rest_joints(torch.zeros(1, 10)).numpy()[:, :22], 3, axis=0)
        run.motions.write_part(0, [Row("m", Motion("m", hard.id, "stands", joints + np.float32([0, 1, 0])))])
        run.finish("synthesize", {})
        return run

    return make


def _estimate(sample: Sample, body: Body) -> PoseEstimate:
    """The truth, as an estimator would say it whose body is ``body``."""
    assert sample.smpl is not None and sample.camera is not None
    joints = joints_of(body, sample.smpl)
    camera = sample.camera
    return PoseEstimate(
        joints - joints[:1], project(joints, camera.focal_length, camera.principal_point), camera, sample.smpl
    )


def joints_of(body: Body, smpl: SmplParams) -> np.ndarray:
    parameters = (smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    with torch.no_grad():
        return body.joints(*(torch.tensor(np.asarray(each))[None] for each in parameters))[0].numpy()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_labels_are_of_the_estimators_own_body(
    name: str, smpl: Path, mined: Make, registry: Registry, tmp_path: Path
) -> None:
    estimator = {"name": name, **checkpoint(name, smpl, tmp_path, registry)}
    run = mined(estimator, smpl)
    animate(run)
    own = run.create(Kind.ESTIMATOR, run.recipe.estimator, "estimator").body
    assert body_difference(own, load_body(smpl)) is None
    assert body_difference(own, load_body()) is not None
    (clip,) = run.clips.values()
    plan = clip.plan
    for at in range(len(plan.transl)):
        smpl_of_frame = SmplParams(plan.global_orient[at], plan.body_pose[at], plan.betas, plan.transl[at])
        expected = joints_of(own, smpl_of_frame)
        np.testing.assert_allclose(plan.joints3d[at], expected, rtol=0, atol=1e-4)  # 0.1 mm
        seen = project(expected, plan.camera.focal_length, plan.camera.principal_point)
        np.testing.assert_allclose(plan.joints2d[at], seen, rtol=0, atol=0.05)
    for kind, component in ((Kind.ANIMATOR, run.recipe.animator), *((Kind.WRITER, c) for c in writers(run))):
        made = run.create(kind, component, "animator" if kind is Kind.ANIMATOR else "export")
        assert not hasattr(made, "body") or body_difference(made.body, own) is None


def writers(run: Run) -> list[Any]:
    return [choice for kind, choice, _ in run.recipe.choices() if kind is Kind.WRITER]


def test_a_checkpoints_body_is_kept_for_the_stages_to_come(
    smpl: Path, mined: Make, registry: Registry, tmp_path: Path
) -> None:
    run = mined({"name": "hmr2", **checkpoint("hmr2", smpl, tmp_path, registry)})
    assert body_difference(run.bodies.body, load_body(smpl)) is None
    assert run.bodies.file == run.folder / FILE
    written = {name: (run.folder / name).read_bytes() for name in (RECORD, FILE)}
    for name, whole in written.items():  # damaged ones are made again
        for damaged in (whole[: len(whole) // 2], whole.replace(b"body", b"bodz", 1), b"null", b"{}"):
            (run.folder / name).write_bytes(damaged)
            assert run.bodies.file == run.folder / FILE
            assert {name: (run.folder / name).read_bytes() for name in (RECORD, FILE)} == written
    (tmp_path / "hmr2.ckpt").unlink()  # the estimator need not be made again
    assert body_difference(run.bodies.body, load_body(smpl)) is None
    trained = attrs.evolve(run.recipe.estimator, options={"weights": str(_trained(tmp_path))})
    own = run.create(Kind.ESTIMATOR, trained, "estimator").body
    assert body_difference(own, load_body(smpl)) is None


def _trained(folder: Path) -> Path:
    """Weights that a training left: HMR 2.0's hold no body."""
    from posesyn_hmr2.weights import save_network

    save_network(Hmr2Network(SMALL_HMR2), "smpl", folder / "weights.safetensors")
    return folder / "weights.safetensors"


def test_the_free_estimator_has_the_free_body(mined: Make) -> None:
    run = mined({"name": "spin", "weights": "random"})
    assert run.bodies.file is None
    assert not (run.folder / FILE).exists()


def test_an_animator_of_another_body_is_refused(smpl: Path, mined: Make) -> None:
    run = mined({"name": "spin", "weights": "random"}, animator={"name": "reprojection", "body": str(smpl)})
    with pytest.raises(
        UserError, match=r"\[animator\] 'reprojection' poses another body than \[estimator\] 'spin'.*mm"
    ):
        animate(run)


@pytest.mark.parametrize("section", ["reference", "eem"])
def test_references_of_another_body_are_refused(
    section: str, smpl: Path, mined: Make, registry: Registry, tmp_path: Path
) -> None:
    other = {"name": "hmr2", **checkpoint("hmr2", smpl, tmp_path, registry)}
    run = mined({"name": "spin", "weights": "random"}, **{section: other})
    with pytest.raises(
        UserError, match=rf"\[{section}\] 'hmr2'.* another body than \[estimator\] 'spin'.*{section}\.body"
    ):
        animate(run)


def test_a_recipe_of_another_body_than_the_estimators_is_refused(smpl: Path, mined: Make, tmp_path: Path) -> None:
    taller = load_body(smpl)
    taller.v_template.mul_(1.05)
    save_body(taller, tmp_path / "taller.npz")
    run = mined({"name": "spin", "weights": "random", "body": str(smpl)}, body=str(tmp_path / "taller.npz"))
    with pytest.raises(UserError, match=r"taller\.npz' is another body than that of \[estimator\] 'spin'"):
        animate(run)


@pytest.mark.parametrize("name", ["hmr2", "hybrik", "crowdnet"])
def test_a_file_of_another_body_than_the_weights_bring_is_refused(
    name: str, smpl: Path, registry: Registry, tmp_path: Path
) -> None:
    options = checkpoint(name, smpl, tmp_path, registry)
    save_body(load_body(), tmp_path / "other.npz")
    with pytest.raises(UserError, match=r"other\.npz' is another: their joints at rest are up to .* mm apart"):
        registry.create(Kind.ESTIMATOR, name, {**options, "body": str(tmp_path / "other.npz")}, "test")
    again = registry.create(Kind.ESTIMATOR, name, {**options, "body": str(smpl)}, "test")
    assert body_difference(again.body, load_body(smpl)) is None


def test_real_training_data_of_another_body_are_refused(smpl: Path, mined: Make) -> None:
    run = mined({"name": "spin", "weights": "random"}, real=[{"name": "world", "count": 2, "body": str(smpl)}])
    with pytest.raises(UserError, match=r"\[real\.0\] 'world' poses another body"):
        run.create(Kind.READER, run.recipe.real[0], "real.0")
