"""Replays the recorded motion VQ-VAE and transformer: every array of the pack, from the official checkpoint's names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_t2mgpt.representation import joints_from_features
from posesyn_t2mgpt.sampling import eager, sample
from posesyn_t2mgpt.transformer import T2MTransformer, TransformerShape, corrupt, remember, transformer_loss
from posesyn_t2mgpt.vqvae import MotionVqVae, VqVaeShape, vqvae_loss
from posesyn_t2mgpt.weights import Weights, load_weights

VQ_TOLERANCE, GPT_TOLERANCE = 2e-5, 1e-4
HEADS = 4
Pack = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def pack(shared: Path) -> Pack:
    with np.load(shared / "parity" / "t2mgpt" / "io.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def weights(shared: Path) -> Weights:
    return load_weights(str(shared / "parity" / "t2mgpt"))


@pytest.fixture
def vqvae(weights: Weights) -> MotionVqVae:
    return weights.vqvae()


@pytest.fixture(scope="module")
def transformer(weights: Weights) -> T2MTransformer:
    return weights.transformer(HEADS)


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual.detach().to(expected.dtype), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("part", ["vqvae", "gpt"])
def test_full_size_manifest(shared: Path, part: str) -> None:
    manifest = json.loads((shared / "parity" / "t2mgpt" / f"manifest_full_{part}.json").read_text())
    with torch.device("meta"):
        model = MotionVqVae(VqVaeShape()) if part == "vqvae" else T2MTransformer(TransformerShape())
    ours = {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in model.state_dict().items()}
    assert ours == {name: (entry["shape"], entry["dtype"]) for name, entry in manifest.items()}


@pytest.mark.parametrize("suffix", ["", "_t30", "_t29", "_t61", "_t4", "_e2e"])
@torch.no_grad()
def test_autoencoding(pack: Pack, vqvae: MotionVqVae, suffix: str) -> None:
    output = vqvae(pack[f"vq_motion{suffix}"])
    assert torch.equal(output.codes, pack[f"vq_idx{suffix}"])
    close(output.latents.transpose(1, 2), pack[f"vq_latent{suffix}"], VQ_TOLERANCE)
    close(output.quantized.transpose(1, 2), pack[f"vq_quantized{suffix}"], VQ_TOLERANCE)
    close(output.features, pack[f"vq_recon{suffix}"], VQ_TOLERANCE)
    close(output.commit, pack[f"vq_commit{suffix}"], VQ_TOLERANCE)
    close(output.perplexity, pack[f"vq_perplexity{suffix}"], 1e-4)
    exact = vqvae.double()(pack[f"vq_motion{suffix}"].double())
    close(exact.latents.transpose(1, 2), pack[f"vq_latent{suffix}_f64"], 1e-9)
    close(exact.features, pack[f"vq_recon{suffix}_f64"], 1e-9)


@torch.no_grad()
def test_stages(pack: Pack, vqvae: MotionVqVae) -> None:
    seen: list[torch.Tensor] = []
    encoder, decoder = vqvae.vqvae["encoder"].model, vqvae.vqvae["decoder"].model
    for model, count in ((encoder, 4), (decoder, 6)):
        for stage in list(model)[:count]:
            stage.register_forward_hook(lambda *call: seen.append(call[2]))
    vqvae(pack["vq_motion"])
    names = [f"vq_enc_stage{k}" for k in range(4)] + [f"vq_dec_stage{k}" for k in range(6)]
    assert len(seen) == len(names)
    for name, output in zip(names, seen, strict=True):
        close(output, pack[name], VQ_TOLERANCE)
    rows = pack["vq_latent"].transpose(1, 2).flatten(0, 1)
    close(vqvae.quantizer.distances(rows), pack["vq_distance"], 1e-3)


@pytest.mark.parametrize("count", [1, 7, 12, 50])
@torch.no_grad()
def test_decoding(pack: Pack, vqvae: MotionVqVae, count: int) -> None:
    codes = pack[f"vq_dec_idx_m{count}"]
    close(vqvae.decode(codes), pack[f"vq_dec_out_m{count}"], VQ_TOLERANCE)
    close(vqvae.double().decode(codes), pack[f"vq_dec_out_m{count}_f64"], 1e-9)


@torch.no_grad()
def test_batch_of_different_lengths(pack: Pack, vqvae: MotionVqVae) -> None:
    """Each motion of a padded batch gives the codes and frames that were recorded of it alone."""
    lengths = torch.tensor([29, 61, 30, 4])
    padded = torch.full((4, 61, 263), 7.0)
    for row, length in enumerate(lengths.tolist()):
        padded[row, :length] = pack[f"vq_motion_t{length}"][0]
    codes = vqvae.encode(padded, lengths)
    decoded = vqvae.decode(codes, lengths // 4)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(codes[row, : length // 4], pack[f"vq_idx_t{length}"][0])
        close(decoded[row, : length // 4 * 4], pack[f"vq_recon_t{length}"][0], VQ_TOLERANCE)
        assert not decoded[row, length // 4 * 4 :].any()


@torch.no_grad()
def test_end_to_end(pack: Pack, weights: Weights, vqvae: MotionVqVae) -> None:
    statistics = weights.statistics()
    normalised = statistics.normalize(pack["e2e_features"].double())
    close(normalised, pack["e2e_normalised"], 1e-9)
    assert torch.equal(vqvae.encode(normalised.float()), pack["vq_idx_e2e"])
    features = statistics.denormalize(vqvae.decode(pack["vq_idx_e2e"]).double())
    close(features, pack["e2e_recon_features"].double(), 2e-5)
    assert joints_from_features(features).isfinite().all()


def test_vq_training(pack: Pack, vqvae: MotionVqVae) -> None:
    vqvae.train()
    for number in (1, 2, 3):
        motion = pack[f"vqtrain_motion{number}"]
        vqvae.zero_grad()
        output = vqvae(motion)
        losses = vqvae_loss(output.features, motion, output.commit)
        values = [losses[key] for key in ("recons", "vel", "commit", "loss")] + [output.perplexity]
        close(torch.stack(values), pack[f"vqtrain_losses{number}"], 1e-4)
        for name in ("codebook", "code_sum", "code_count"):
            close(getattr(vqvae.quantizer, name), pack[f"vqtrain_{name}{number}"], VQ_TOLERANCE)
        losses["loss"].backward()
        _check_gradients(pack, vqvae, f"vqtrain_grad{number}.", expected=3 if number == 1 else 0)


def _check_gradients(pack: Pack, model: torch.nn.Module, prefix: str, expected: int) -> None:
    names = [name.removeprefix(prefix) for name in pack if name.startswith(prefix)]
    assert len(names) == expected
    for name in names:
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        torch.testing.assert_close(gradient, pack[prefix + name], atol=1e-6, rtol=1e-4)


def _prefix(pack: Pack, count: int) -> torch.Tensor:
    return pack[f"gpt_idx_p{count}"] if count else torch.zeros(2, 0, dtype=torch.long)


@pytest.mark.parametrize("count", [0, 1, 7, 20, 50])
@torch.no_grad()
def test_logits(pack: Pack, weights: Weights, transformer: T2MTransformer, count: int) -> None:
    text, tokens = pack["gpt_clip_feature"], _prefix(pack, count)
    close(transformer(text, tokens), pack[f"gpt_logits_p{count}"], GPT_TOLERANCE)
    exact = weights.transformer(HEADS).double()(text.double(), tokens)
    close(exact, pack[f"gpt_logits_p{count}_f64"], 1e-9)


@pytest.mark.parametrize("count", [0, 7])
@torch.no_grad()
def test_intermediates(pack: Pack, weights: Weights, count: int) -> None:
    model = weights.transformer(HEADS)
    base, head, seen = model.trans_base, model.trans_head, {}
    for name, module in (
        ("attn0", base.blocks[0].attn),
        ("block0", base.blocks[0]),
        ("base", base.blocks[-1]),
        ("head_ln", head.ln_f),
    ):
        module.register_forward_hook(lambda *call, name=name: seen.__setitem__(name, call[2]))
    text, tokens = pack["gpt_clip_feature"], _prefix(pack, count)
    logits = model(text, tokens)
    embedded = base.embed(text, tokens)
    close(embedded, pack[f"gpt_embed_p{count}"], GPT_TOLERANCE)
    close(embedded + base.pos_embed.embed[: count + 1, 0], pack[f"gpt_pos_p{count}"], GPT_TOLERANCE)
    for name, output in seen.items():
        close(output if name == "head_ln" else output[0], pack[f"gpt_{name}_p{count}"], GPT_TOLERANCE)
    close(torch.softmax(logits[:, -1], dim=-1), pack[f"gpt_probs_p{count}"], GPT_TOLERANCE)


@pytest.mark.parametrize("known", [0, 7, 20])
@torch.no_grad()
def test_cache_gives_the_recorded_logits(pack: Pack, transformer: T2MTransformer, known: int) -> None:
    """Prefill and steps, the two rows from prefixes of different length, against whole sequences."""
    text, tokens, expected = pack["gpt_clip_feature"], pack["gpt_idx_p50"], pack["gpt_logits_p50"]
    counts = torch.tensor([known, known // 2])
    rows = torch.arange(2)
    logits, keys, values = transformer.prefill(text, tokens[:, :known], counts)
    close(logits, expected[rows, counts], GPT_TOLERANCE)
    for place in range(1, 51 - known):
        token = tokens[rows, counts + place - 1]
        logits, key, value = transformer.step(token, counts + place, keys, values)
        remember(keys, counts + place, key)
        remember(values, counts + place, value)
        close(logits, expected[rows, counts + place], GPT_TOLERANCE)


@pytest.mark.parametrize("case", ["greedy", "continue", "greedy_immediate_end"])
@torch.no_grad()
def test_greedy_sampling(pack: Pack, transformer: T2MTransformer, case: str) -> None:
    text = pack[f"gpt_{case}_clip"].reshape(-1, 512)
    prefix = pack["gpt_continue_prefix"] if case == "continue" else torch.zeros(len(text), 0, dtype=torch.long)
    counts = torch.full((len(text),), prefix.shape[1])
    codes, lengths = sample(
        eager(transformer), transformer.shape, text, prefix, counts, least=counts * 0, most=counts * 0 + 50
    )
    expected = pack[f"gpt_{case}_tokens"].reshape(len(text), -1)
    assert torch.equal(lengths, pack[f"gpt_{case}_len"].reshape(-1))
    assert torch.equal(lengths < 50, pack[f"gpt_{case}_ended"].reshape(-1).bool())
    best, second = transformer(text, codes).topk(2).values.unbind(-1)
    decided = [slice(prefix.shape[1], min(length + 1, 50)) for length in lengths.tolist()]
    margins = torch.stack([(best - second)[row, places].min() for row, places in enumerate(decided)])
    close(margins, pack[f"gpt_{case}_min_margin"], 1e-3)
    if expected.shape[1]:
        assert torch.equal(torch.where(torch.arange(50) < lengths[:, None], codes, -1), expected)


def test_transformer_training(pack: Pack, weights: Weights) -> None:
    model = weights.transformer(HEADS)  # in evaluation mode: recorded without dropout
    targets = pack["gpttrain_target"]
    inputs = corrupt(targets[:, :-1], pack["gpttrain_keep_mask"].bool(), pack["gpttrain_random_idx"])
    assert torch.equal(inputs, pack["gpttrain_input"])
    logits = model(pack["gpttrain_clip"], inputs)
    close(logits, pack["gpttrain_logits"], GPT_TOLERANCE)
    counts = torch.arange(targets.shape[1]) <= pack["gpttrain_len"][:, None]
    loss = transformer_loss(logits, targets, counts)
    close(loss, pack["gpttrain_loss"], 1e-5)
    loss.backward()
    _check_gradients(pack, model, "gpttrain_grad.", expected=4)
