"""Training through the command line, on motions and networks of the smallest size."""

from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from posesyn_core.errors import UserError
from posesyn_core.values import MotionRequest
from posesyn_t2mgpt import train
from posesyn_t2mgpt.config import TransformerOptions, VqOptions
from posesyn_t2mgpt.generator import T2MGpt, T2MGptConfig
from posesyn_t2mgpt.motions import load_motions
from posesyn_t2mgpt.plugin import register_commands
from posesyn_t2mgpt.text import HashedText
from posesyn_t2mgpt.weights import load_weights

VQ = VqOptions(
    steps=6, batch=8, window=32, rate=1e-3, warmup=2, width=16, codes=16, code_dim=8, unquantized=2, validate_every=2
)


def run(*arguments: object) -> Result:
    cli = click.Group()
    register_commands(cli)
    return CliRunner().invoke(cli, ["t2mgpt", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def vq_file(motions_file: Path, tmp_path: Path) -> Path:
    motions = load_motions(motions_file)
    train.train_vq(motions, motions, tmp_path / "vq.safetensors", VQ, log=lambda _line: None)
    return tmp_path / "vq.safetensors"


def test_both_commands_make_a_generator(motions_file: Path, tmp_path: Path) -> None:
    exclude = tmp_path / "names.txt"
    exclude.write_text("clip2\n")
    data = ("--motions", motions_file, "--validation", motions_file, "--exclude", exclude)
    small = ("--steps", 4, "--batch", 8, "--validate-every", 2)
    vq, target = tmp_path / "vq.safetensors", tmp_path / "all.safetensors"
    sizes = ("--window", 32, "--width", 16, "--codes", 16, "--code-dim", 8)
    result = run("train-vq", *data, "--out", vq, *small, *sizes)
    assert "step 4: training loss" in result.output and "mm, codes in use" in result.output
    sizes = ("--dim", 16, "--layers", 1, "--heads", 2, "--pool", 70)
    result = run("train-transformer", *data, "--vq", vq, "--out", target, *small, *sizes)
    assert "step 4: training loss" in result.output and "codes foreseen" in result.output
    generator = T2MGpt(T2MGptConfig(weights=str(target)))
    [motion] = generator.generate([MotionRequest("m", "s", "waves", 0, None, "text_only", 16, 24)])
    assert 16 <= len(motion.joints) <= 24


def test_interrupted_training_ends_like_an_undisturbed_one(
    vq_file: Path, motions_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    motions, target = load_motions(motions_file), tmp_path / "again.safetensors"
    lines: list[str] = []

    def stop_after_two(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train_vq(motions, motions, target, VQ, log=stop_after_two)
    assert not target.exists()
    train.train_vq(motions, motions, target, VQ, log=lines.append)
    assert [line.split(":")[0] for line in lines] == ["step 2", "step 4", "step 4", "step 6"]
    one, other = load_weights(str(vq_file)).tensors, load_weights(str(target)).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoint_of_other_options(vq_file: Path, motions_file: Path) -> None:
    motions = load_motions(motions_file)
    with pytest.raises(UserError, match=r"vq\.checkpoint.* other options"):
        train.train_vq(motions, motions, vq_file, VqOptions(steps=7), log=print)


def test_training_learns(vq_file: Path, motions_file: Path, tmp_path: Path) -> None:
    """Six motions are soon known: their next codes are foreseen far better than by chance (1 in 17)."""
    options = TransformerOptions(
        steps=60, batch=16, rate=3e-3, dim=32, layers=1, heads=2, keep=0.9, pool=64, validate_every=60
    )
    motions, lines = load_motions(motions_file), list[str]()
    train.train_transformer(
        motions, motions, vq_file, tmp_path / "all.safetensors", options, HashedText(), "hashed", lines.append
    )
    foreseen = float(lines[-1].split("codes foreseen ")[1].removesuffix(" %"))
    assert foreseen > 20


def test_prefix_is_read_but_not_learnt(vq_file: Path, motions_file: Path) -> None:
    """What follows a held pose is learnt; the pose's own seven codes are not, so text alone never begins with them."""
    weights, motions = load_weights(str(vq_file)), load_motions(motions_file)
    shape = train.TransformerShape(codes=16, dim=16, layers=1, heads=2)
    import numpy as np

    for share, learnt in ((1.0, False), (0.0, True)):
        options = TransformerOptions(prefixed=share)
        sequences = train._sequences(
            motions,
            np.random.default_rng(0),
            40,
            vqvae=weights.vqvae(),
            statistics=weights.statistics(),
            text=HashedText(),
            shape=shape,
            options=options,
        )
        assert bool(sequences.counts[:, :4].all()) is learnt
        assert bool(sequences.counts[:, :4].any()) is learnt
        ends = sequences.tokens == shape.end
        assert (ends.sum(1) == 1).all() and sequences.counts[ends].all()
        assert not sequences.counts[sequences.tokens == shape.pad].any()
