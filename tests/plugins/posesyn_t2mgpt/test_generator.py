"""The component through the registry, with the starter weights, as the pipeline uses it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from scipy.spatial.transform import Rotation

from posesyn_core.components import Kind, MotionGenerator
from posesyn_core.errors import SampleError, UserError
from posesyn_core.method.metrics import pa_mpjpe
from posesyn_core.registry import Registry
from posesyn_core.values import MotionRequest
from posesyn_t2mgpt.generator import T2MGpt, T2MGptConfig
from posesyn_t2mgpt.representation import BONE_LENGTHS, PARENTS
from tests.plugins.posesyn_t2mgpt.moving import make_pose


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    return Registry.discover().create(Kind.MOTION, "t2mgpt", {}, "motion")


@pytest.fixture
def request_(motion: Callable[..., np.ndarray]) -> MotionRequest:
    """A standing pose with a raised arm, somewhere in the room, on a body of its own."""
    return MotionRequest("set/1#0", "set/1", "A person waves with the left hand.", 5, motion(1, 2)[0] * 1.1 + [3, 1, 2])


def requests(base: MotionRequest, count: int) -> list[MotionRequest]:
    texts = ("A person walks.", "Someone jumps.", "", "Une personne danse sous la pluie", "run " * 200)
    guidances = ("full", "text_only", "pose_only")
    return [
        evolve(base, id=f"set/{k}#0", seed=k, caption=texts[k % 5], guidance=guidances[k % 3]) for k in range(count)
    ]


def test_motion(generator: MotionGenerator, request_: MotionRequest) -> None:
    [made] = generator.generate([request_])
    assert (made.id, made.sample_id, made.caption, made.seed) == ("set/1#0", "set/1", request_.caption, 5)
    assert made.fps == 20 and "t2mgpt starter full" in made.provenance
    assert 40 <= len(made.joints) <= 196 and len(made.joints) % 4 == 0
    assert np.isfinite(made.joints).all()
    assert made.joints[..., 1].min() == 0
    assert np.abs(made.joints[0, 0, [0, 2]]).max() < 1e-6
    bones = np.linalg.norm(made.joints - made.joints[:, list(PARENTS)], axis=-1).mean(0)
    np.testing.assert_allclose(bones[1:], BONE_LENGTHS[1:], atol=0.06)


def test_motion_begins_with_the_pose(generator: MotionGenerator, request_: MotionRequest) -> None:
    """The first 28 frames decode S_MR: of all motions, the one begun with a pose stays nearest to it."""
    standing, reaching, pointing = make_pose(5, 0, 0), make_pose(170, 0, 0), make_pose(90, 10, 0)
    poses = [standing, reaching, pointing]
    motions = generator.generate([evolve(request_, id=str(k), pose=pose) for k, pose in enumerate(poses)])
    beginnings = np.stack([motion.joints[4:24] for motion in motions])
    for k, pose in enumerate(poses):
        distances = [pa_mpjpe(frames, np.broadcast_to(pose, frames.shape)).mean() for frames in beginnings]
        assert np.argmin(distances) == k


def test_place_and_heading_of_the_pose_do_not_matter(generator: MotionGenerator, request_: MotionRequest) -> None:
    assert request_.pose is not None
    turned = request_.pose @ Rotation.from_euler("y", 2.0).as_matrix().T + [9, -4, 1]
    one, other = generator.generate([request_, evolve(request_, pose=turned)])
    np.testing.assert_allclose(one.joints, other.joints, atol=1e-5)


def test_every_motion_depends_on_its_request_alone(generator: MotionGenerator, request_: MotionRequest) -> None:
    wanted = requests(request_, 7)
    together = generator.generate(wanted)
    small = T2MGpt(T2MGptConfig(batch=3)).generate(wanted[::-1])[::-1]
    for one, other in zip(together, small, strict=True):
        assert one.id == other.id
        np.testing.assert_allclose(one.joints, other.joints, atol=1e-6)


def test_seed_and_guidance_change_the_motion(generator: MotionGenerator, request_: MotionRequest) -> None:
    variants = [
        request_,
        evolve(request_, seed=6),
        evolve(request_, guidance="text_only"),
        evolve(request_, guidance="pose_only"),
        evolve(request_, id="set/1#1"),
    ]
    motions = [motion.joints.tobytes() for motion in generator.generate(variants)]
    assert len(set(motions)) == len(variants)


def test_guidance_leaves_out_what_it_says(generator: MotionGenerator, request_: MotionRequest) -> None:
    text_only, pose_only = (evolve(request_, guidance=g) for g in ("text_only", "pose_only"))
    pairs = [(text_only, evolve(text_only, pose=None)), (pose_only, evolve(pose_only, caption="Someone sits."))]
    for one, other in pairs:
        first, second = generator.generate([one, other])
        np.testing.assert_array_equal(first.joints, second.joints)


@pytest.mark.parametrize(("least", "most"), [(40, 40), (44, 51), (196, 196), (200, 400)])
def test_length_limits(generator: MotionGenerator, request_: MotionRequest, least: int, most: int) -> None:
    for motion in generator.generate([evolve(r, min_frames=least, max_frames=most) for r in requests(request_, 4)]):
        assert least <= len(motion.joints) <= most


def test_cold_sampling_is_greedy(request_: MotionRequest) -> None:
    greedy = T2MGpt(T2MGptConfig(temperature=0))
    one, other = greedy.generate([request_, evolve(request_, seed=99)])
    np.testing.assert_array_equal(one.joints, other.joints)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose": np.full((22, 3), np.nan)}, "not finite"),
        ({"pose": np.zeros((22, 3))}, "no body"),
        ({"pose": np.random.default_rng(0).normal(size=(22, 3)) * 100}, "no body"),
        ({"pose": make_pose(5, 0, 0) * 1000}, "no body: its bones measure .* m"),
        ({"pose": None}, "needs a pose"),
        ({"caption": ""}, "has no words"),
        ({"caption": " ... 🏃"}, "has no words"),
        ({"caption": "", "guidance": "text_only"}, "needs some"),
        ({"caption": "人が跳ぶ。"}, "not in Latin letters; translate"),
        ({"caption": "Человек прыгает"}, "not in Latin letters; translate"),
        ({"guidance": "both"}, "none of full"),
        ({"max_frames": 24}, "28 frames"),
        ({"min_frames": 80, "max_frames": 60}, "below min_frames"),
    ],
)
def test_bad_requests_are_rejected(
    generator: MotionGenerator, request_: MotionRequest, change: dict[str, object], message: str
) -> None:
    with pytest.raises(SampleError, match=message):
        generator.generate([evolve(request_, **change)])


def test_captions_of_any_length_and_accent(generator: MotionGenerator, request_: MotionRequest) -> None:
    """Longer than CLIP's 77 tokens, with accents, a foreign word, or nothing where only the pose guides."""
    captions = ["run " * 200, "Une personne danse à l'étranger.", "He writes 跳 on the wall."]
    wanted = [evolve(request_, caption=caption) for caption in captions]
    wanted.append(evolve(request_, caption="", guidance="pose_only"))
    assert all(len(motion.joints) >= 40 for motion in generator.generate(wanted))


def test_still_feet(request_: MotionRequest) -> None:
    """The option moves the body as a whole, so that feet in contact slide less."""
    wanted = [evolve(request_, seed=seed, id=f"m{seed}") for seed in range(4)]
    plain, still = (T2MGpt(T2MGptConfig(still_feet=on)).generate(wanted) for on in (False, True))
    for one, other in zip(plain, still, strict=True):
        poses = [motion.joints - motion.joints[:, :1] for motion in (one, other)]
        np.testing.assert_allclose(*poses, atol=1e-5)
    assert not all(np.allclose(one.joints, other.joints, atol=1e-3) for one, other in zip(plain, still, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "elsewhere"}, "no weights at 'elsewhere'"),
        ({"precision": "half"}, "neither 'float32'"),
        ({"temperature": -1.0}, "'temperature' must be at least 0 and at most 100, not -1"),
        ({"temperature": float("inf")}, "'temperature' must be at least 0 and at most 100, not inf"),
        ({"text_encoder": "word2vec"}, "text_encoder 'word2vec'"),
        ({"heads": 7}, "heads don't divide"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Registry.discover().create(Kind.MOTION, "t2mgpt", options, "motion")


def test_official_checkpoint_files(shared: Path, request_: MotionRequest) -> None:
    """The small checkpoint of the reference data, with the official statistics, through the whole component."""
    folder = str(shared / "parity" / "t2mgpt")
    generator = T2MGpt(T2MGptConfig(weights=folder, heads=4, text_encoder="hashed"))
    [made] = generator.generate([request_])
    assert np.isfinite(made.joints).all() and len(made.joints) >= 40
