"""Training through the command line, on motions and networks of the smallest size."""

import json
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from attrs import evolve
from click.testing import CliRunner, Result

from posesyn_core.errors import UserError
from posesyn_core.values import MotionRequest
from posesyn_t2mgpt import loop
from posesyn_t2mgpt.config import TransformerOptions, VqOptions
from posesyn_t2mgpt.generator import T2MGpt, T2MGptConfig
from posesyn_t2mgpt.motions import load_motions
from posesyn_t2mgpt.plugin import register_commands
from posesyn_t2mgpt.text import HashedText
from posesyn_t2mgpt.train_transformer import batch_loss, draw_sequences, train_transformer
from posesyn_t2mgpt.train_vq import train_vq
from posesyn_t2mgpt.transformer import T2MTransformer, TransformerShape, transformer_loss
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
    train_vq(motions, motions, tmp_path / "vq.safetensors", VQ, log=lambda _line: None)
    return tmp_path / "vq.safetensors"


def test_both_commands_make_a_generator(motions_file: Path, tmp_path: Path) -> None:
    exclude = tmp_path / "names.txt"
    exclude.write_text("clip2\n")
    data = ("--motions", motions_file, "--validation", motions_file, "--exclude", exclude)
    small = ("--steps", 4, "--batch", 8, "--validate-every", 2)
    vq, target = tmp_path / "vq.safetensors", tmp_path / "all.safetensors"
    sizes = ("--window", 32, "--width", 16, "--codes", 16, "--code-dim", 8)
    result = run("train-vq", *data, "--out", vq, *small, *sizes)
    assert "step 4: training_loss" in result.output and "codes_in_use" in result.output
    sizes = ("--dim", 16, "--layers", 1, "--heads", 2, "--pool", 70)
    result = run("train-transformer", *data, "--vq", vq, "--out", target, *small, *sizes)
    assert "step 4: training_loss" in result.output and "codes_foreseen" in result.output
    generator = T2MGpt(T2MGptConfig(weights=str(target)))
    [motion] = generator.generate([MotionRequest("m", "s", "waves", 0, None, "text_only", 16, 24)])
    assert 16 <= len(motion.joints) <= 24


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_interrupted_training_ends_like_an_undisturbed_one(motions_file: Path, tmp_path: Path, precision: str) -> None:
    motions, whole, target = load_motions(motions_file), tmp_path / "whole.safetensors", tmp_path / "again.safetensors"
    options = evolve(VQ, precision=precision)
    train_vq(motions, motions, whole, options, log=lambda _line: None)
    lines: list[str] = []

    def stop_after_two(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vq(motions, motions, target, options, log=stop_after_two)
    assert not target.exists()
    train_vq(motions, motions, target, options, log=lines.append)
    assert [line.split(":")[0] for line in lines] == ["step 2", "step 4", "step 4", "step 6"]
    one, other = load_weights(str(whole)).tensors, load_weights(str(target)).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole.with_suffix(".metrics.jsonl").read_text() == target.with_suffix(".metrics.jsonl").read_text()


def test_curves(vq_file: Path) -> None:
    rows = [json.loads(line) for line in vq_file.with_suffix(".metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    measures = {"training_loss", "motions_mm", "held_poses_mm", "codes_in_use", "perplexity", "rate"}
    assert all(measures < row.keys() and all(np.isfinite(list(row.values()))) for row in rows)


def test_mixed_precision_trains_the_codebook_in_float32(motions_file: Path, tmp_path: Path) -> None:
    """Half precision rounds the network, so results differ a little; the codebook stays what float32 makes of it."""
    motions = load_motions(motions_file)
    for precision in ("float32", "bfloat16"):
        path = tmp_path / f"{precision}.safetensors"
        train_vq(motions, motions, path, evolve(VQ, precision=precision), log=lambda _line: None)
    full, mixed = (
        torch.load(tmp_path / f"{precision}.checkpoint", weights_only=True)["tensors"]
        for precision in ("float32", "bfloat16")
    )
    for name in ("vqvae.quantizer.codebook", "vqvae.encoder.model.0.weight"):
        assert mixed[name].dtype == torch.float32 and not torch.equal(full[name], mixed[name])
        torch.testing.assert_close(full[name], mixed[name], atol=0.3, rtol=0)


def test_given_statistics(motions_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.full(263, 0.25))
    np.save(tmp_path / "std.npy", np.full(263, 0.5))
    motions, target = load_motions(motions_file), tmp_path / "vq.safetensors"
    train_vq(motions, motions, target, evolve(VQ, statistics=str(tmp_path)), log=lambda _line: None)
    statistics = load_weights(str(target)).statistics()
    assert set(statistics.mean.tolist()) == {0.25} and set(statistics.std.tolist()) == {0.5}


def test_going_on_from_weights(vq_file: Path, motions_file: Path, tmp_path: Path) -> None:
    """With a rate of almost nothing the network stays what it was, statistics too; the codebook is not begun anew."""
    motions, target = load_motions(motions_file), tmp_path / "more.safetensors"
    more = evolve(VQ, initial=str(vq_file), rate=1e-9, unquantized=0, steps=1, width=8, decay=0.999, reset_below=0.0)
    train_vq(motions, motions, target, more, log=lambda _line: None)
    before, after = load_weights(str(vq_file)).tensors, load_weights(str(target)).tensors
    assert before.keys() == after.keys()
    for name in before:
        torch.testing.assert_close(before[name], after[name], atol=0.05, rtol=0)
    options = TransformerOptions(steps=1, batch=4, dim=16, layers=1, heads=2, pool=8, rate=1e-9)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    for path, initial in ((first, ""), (second, str(first))):
        chosen = evolve(options, initial=initial, dim=16 if not initial else 64)
        train_transformer(motions, motions, vq_file, path, chosen, HashedText(), "hashed", lambda _line: None)
    before, after = load_weights(str(first)).tensors, load_weights(str(second)).tensors
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_transformer_of_other_codes(weights_file: Path, vq_file: Path, motions_file: Path, tmp_path: Path) -> None:
    motions, options = load_motions(motions_file), TransformerOptions(initial=str(weights_file))
    with pytest.raises(UserError, match="is for 24 codes, not 16"):
        train_transformer(motions, motions, vq_file, tmp_path / "x.safetensors", options, HashedText(), "hashed")


def test_length_groups_change_nothing(vq_file: Path, motions_file: Path) -> None:
    """The loss of a batch computed in parts as long as their longest is that of the whole, Pads read and all."""
    motions, weights = load_motions(motions_file), load_weights(str(vq_file))
    model = T2MTransformer(TransformerShape(codes=16, dim=16, layers=1, heads=2)).eval()
    options = TransformerOptions(batch=10, keep=1.0, wordless=0.0)
    pool = draw_sequences(
        motions,
        np.random.default_rng(0),
        30,
        vqvae=weights.vqvae(),
        statistics=weights.statistics(),
        text=HashedText(),
        shape=model.shape,
        options=options,
    )
    chosen = torch.from_numpy(np.random.default_rng(1).integers(30, size=10))
    tokens, counts = pool.tokens[chosen], pool.counts[chosen]
    expected = transformer_loss(model(pool.texts[chosen], tokens[:, :-1]), tokens, counts)
    loss = batch_loss(model, pool, options, np.random.default_rng(1))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schedule": "linear"}, "'linear' is none of step, cosine"), ({"precision": "int8"}, "'int8' is neither")],
)
def test_bad_training_options(motions_file: Path, tmp_path: Path, change: dict[str, str], message: str) -> None:
    motions = load_motions(motions_file)
    with pytest.raises(UserError, match=message):
        train_vq(motions, motions, tmp_path / "vq.safetensors", evolve(VQ, **change))


def test_a_loss_that_is_no_number_stops_the_training(motions_file: Path, tmp_path: Path) -> None:
    motions = load_motions(motions_file)
    far = evolve(motions, joints=motions.joints * 1e30)
    with pytest.raises(UserError, match=r"training loss is (nan|inf) at step 0; lower --rate, or look for values"):
        train_vq(far, motions, tmp_path / "vq.safetensors", VQ)
    assert not (tmp_path / "vq.safetensors").exists()


def test_published_schedule() -> None:
    """999 steps up to the full rate, which falls to a twentieth after two thirds."""
    options = VqOptions()
    assert loop.rate_at(0, options) == pytest.approx(2e-4 / 1000)
    assert loop.rate_at(1000, options) == loop.rate_at(199_999, options) == 2e-4
    assert loop.rate_at(200_000, options) == loop.rate_at(299_999, options) == pytest.approx(1e-5)
    cosine = evolve(options, schedule="cosine", warmup=0)
    assert loop.rate_at(150_000, cosine) == pytest.approx(1e-4)


def test_a_file_needs_a_validation(motions_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--validation is missing"):
        run("train-vq", "--motions", motions_file, "--out", tmp_path / "vq.safetensors")


def test_checkpoint_of_other_options(vq_file: Path, motions_file: Path) -> None:
    motions = load_motions(motions_file)
    with pytest.raises(UserError, match=r"vq\.checkpoint.* other options"):
        train_vq(motions, motions, vq_file, VqOptions(steps=7), log=print)


def test_training_learns(vq_file: Path, motions_file: Path, tmp_path: Path) -> None:
    """Six motions are soon known: their next codes are foreseen far better than by chance (1 in 17)."""
    options = TransformerOptions(
        steps=60, batch=16, rate=3e-3, dim=32, layers=1, heads=2, keep=0.9, pool=64, validate_every=60
    )
    motions, lines = load_motions(motions_file), list[str]()
    train_transformer(
        motions, motions, vq_file, tmp_path / "all.safetensors", options, HashedText(), "hashed", lines.append
    )
    assert float(lines[-1].split("codes_foreseen_percent ")[1]) > 20


def test_prefix_is_read_but_not_learnt(vq_file: Path, motions_file: Path) -> None:
    """What follows a held pose is learnt; the pose's own seven codes are not, so text alone never begins with them."""
    weights, motions = load_weights(str(vq_file)), load_motions(motions_file)
    shape = TransformerShape(codes=16, dim=16, layers=1, heads=2)
    for share, learnt in ((1.0, False), (0.0, True)):
        options = TransformerOptions(prefixed=share)
        sequences = draw_sequences(
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
