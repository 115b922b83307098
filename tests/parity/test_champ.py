"""The published Champ, replayed from the reference data."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from posesyn_champ.config import GUIDANCE
from posesyn_champ.guidance import GuidanceEncoder, fuse
from posesyn_champ.pipeline import (
    DENOISER,
    UNCONDITIONAL,
    Appearance,
    clip_input,
    decode,
    encode,
    guidance_input,
    guided_velocity,
    image_token,
    make_scheduler,
    remember,
    resize,
    sample,
    vae_input,
)
from posesyn_champ.unet import Denoiser, UnconditionalDenoiser, UNet, UNetSizes, pack, write_bank
from posesyn_champ.weights import ChampWeights, Networks, load_networks
from posesyn_champ.windows import closed_windows
from posesyn_core.contracts.engines import NetworkCall

CLOSE, SAMPLED = 1e-4, 1e-3
"""Of the largest number: of one pass through the networks, and of complete samplings."""

Arrays = Mapping[str, NDArray]


@pytest.fixture(scope="module")
def pack_folder(shared: Path) -> Path:
    return shared / "parity" / "champ"


@pytest.fixture(scope="module")
def io(pack_folder: Path) -> Arrays:
    with np.load(pack_folder / "io.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def config(pack_folder: Path) -> Mapping[str, Any]:
    return json.loads((pack_folder / "config.json").read_text())


@pytest.fixture(scope="module")
def published(pack_folder: Path, config: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkpoint as a folder of the published layout."""
    folder = tmp_path_factory.mktemp("pretrained_models")
    state = load_file(pack_folder / "checkpoint.safetensors")

    def write(name: str, prefix: str, wanted: Callable[[str], bool] = lambda name: True) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        part = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix) and wanted(k)}
        torch.save(part, folder / name)

    write("champ/denoising_unet.pth", "denoising_unet.", lambda name: "motion_modules" not in name)
    write("champ/motion_module.pth", "denoising_unet.", lambda name: "motion_modules" in name)
    write("champ/reference_unet.pth", "reference_unet.")
    for kind in GUIDANCE:
        write(f"champ/guidance_encoder_{kind}.pth", f"guidance_encoder_{kind}.")
    write("image_encoder/pytorch_model.bin", "image_encoder.")
    write("sd-vae-ft-mse/diffusion_pytorch_model.bin", "vae.")
    CLIPVisionConfig(**config["small"]["image_encoder"]).save_pretrained(folder / "image_encoder")
    settings = {"_class_name": "AutoencoderKL", **config["small"]["vae"]}
    (folder / "sd-vae-ft-mse" / "config.json").write_text(json.dumps(settings))
    unet = folder / "stable-diffusion-v1-5" / "unet"
    unet.mkdir(parents=True)
    (unet / "config.json").write_text(json.dumps(config["small"]["unet"]))
    return folder


@pytest.fixture(scope="module")
def champ(published: Path) -> Networks:
    return load_networks(str(published))


@pytest.fixture(scope="module")
def calls(champ: Networks) -> Mapping[str, NetworkCall]:
    networks = {DENOISER: Denoiser(champ.denoiser), UNCONDITIONAL: UnconditionalDenoiser(champ.denoiser)}
    return {name: lambda tensors, network=network: network(**tensors) for name, network in networks.items()}


@pytest.fixture(scope="module")
def appearance(champ: Networks, io: Arrays) -> Appearance:
    """From the recorded photograph, through CLIP, VAE and the reference network."""
    with torch.inference_mode():
        token = image_token(champ.image_encoder, clip_input(io["in.ref_image_u8"]))
        latents = encode(champ.vae, torch.tensor(io["pre.vae_input_u8"] / 127.5 - 1).float().permute(2, 0, 1)[None])
        return remember(champ.reference, latents, token)


@pytest.fixture(scope="module")
def guidance(champ: Networks, io: Arrays) -> Tensor:
    with torch.inference_mode():
        return fuse(champ.encoders, recorded_maps(io), 4, Tensor.float)


def recorded_maps(io: Arrays) -> dict[str, Tensor]:
    maps = {kind: io[f"pre.guidance_{kind}_resized_u8"] for kind in GUIDANCE}
    return {kind: torch.tensor(frames).permute(0, 3, 1, 2) for kind, frames in maps.items()}


def assert_close(found: Tensor, expected: NDArray, tolerance: float = CLOSE) -> None:
    assert found.shape == expected.shape
    assert float((found.double() - torch.tensor(expected)).abs().max()) <= tolerance * np.abs(expected).max()


# Weights


def test_the_folder_fits(published: Path) -> None:
    fit = ChampWeights().check(published)
    assert fit.fits and not fit.ignored


@pytest.mark.parametrize("name", ["denoising_unet", "motion_module", "reference_unet", "guidance_encoder"])
def test_full_size_manifests(pack_folder: Path, name: str) -> None:
    manifest = read_manifest(pack_folder, name)
    with torch.device("meta"):
        network = GuidanceEncoder() if name == "guidance_encoder" else UNet(UNetSizes(), name != "reference_unet")
    parts = {"denoising_unet": False, "motion_module": True}
    ours = {
        key: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in network.state_dict().items()
        if name not in parts or ("motion_modules" in key) == parts[name]
    }
    assert ours == manifest


def test_full_size_manifests_of_clip_and_vae(pack_folder: Path, config: Mapping[str, Any]) -> None:
    with torch.device("meta"):
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**config["full"]["image_encoder"]))
        vae = AutoencoderKL(**config["full"]["vae"])
    for network, name, extra in (
        (clip, "image_encoder", {"vision_model.embeddings.position_ids"}),
        (vae, "vae", set()),
    ):
        manifest = {key: shape for key, (shape, _) in read_manifest(pack_folder, name).items() if key not in extra}
        assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == manifest


def read_manifest(folder: Path, name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    manifest = json.loads((folder / f"manifest_full_{name}.json").read_text())
    return {key: (tuple(entry["shape"]), entry["dtype"]) for key, entry in manifest.items()}


# Inputs


def test_clip_input_and_token(champ: Networks, io: Arrays) -> None:
    pixels = clip_input(io["in.ref_image_u8"])
    assert_close(pixels[:, :, ::7, ::7], io["pre.clip_pixel_values_sub7"])
    with torch.inference_mode():
        assert_close(image_token(champ.image_encoder, pixels)[:, 0], io["pre.clip_image_embeds"])


def test_vae_input_and_latents(champ: Networks, io: Arrays) -> None:
    pixels = vae_input(io["in.ref_image_u8"], (64, 128))
    recorded = io["pre.vae_input_u8"].astype(np.float64)
    assert_close(pixels[0].permute(1, 2, 0), recorded / 127.5 - 1, 1e-6)
    with torch.inference_mode():
        assert_close(encode(champ.vae, pixels), io["pre.ref_latents"])


def test_guidance_maps_are_squashed_to_the_frame(io: Arrays) -> None:
    found = guidance_input(io["in.guidance_depth_u8"], (64, 128))
    assert torch.equal(found, recorded_maps(io)["depth"])
    masked = np.where(io["in.mask_u8"][..., None] > 0, io["in.semantic_map_raw_u8"], 0)
    assert torch.equal(guidance_input(masked, (64, 128)), recorded_maps(io)["semantic_map"])


# Networks


def test_each_guidance_encoder(champ: Networks, io: Arrays) -> None:
    for kind, frames in recorded_maps(io).items():
        with torch.inference_mode():
            assert_close(champ.encoders[kind](frames[:1] / 255)[:, :, None], io[f"guid.fea_frame0_{kind}"])


def test_guidance_fusion_and_its_chunks(champ: Networks, io: Arrays, guidance: Tensor) -> None:
    assert_close(guidance, io["guid.sum_long"])
    with torch.inference_mode():
        assert torch.allclose(fuse(champ.encoders, recorded_maps(io), 10, Tensor.float), guidance, atol=1e-5)


def test_reference_network_fills_the_bank(champ: Networks, io: Arrays) -> None:
    latents, token = torch.tensor(io["pre.ref_latents"]), torch.tensor(io["pre.clip_image_embeds"])[:, None]
    with torch.inference_mode():
        bank = write_bank(champ.reference, latents, token)
    names = list(champ.reference.transformers())
    assert len(names) == sum(key.startswith("bank.") for key in io)
    for name, part in zip(names, bank, strict=True):
        assert_close(part, io[f"bank.{name}"])
    assert [part.shape[1:] for part in bank] == champ.denoiser.bank_shapes(8, 16)


def single_step(io: Arrays) -> dict[str, Tensor]:
    return {
        "latents": torch.tensor(io["in.noisy_latents"]),
        "timestep": torch.tensor(io["in.timestep"]),
        "guidance": torch.tensor(io["guid.sum_long"][:, :, :4]),
    }


def test_single_step(champ: Networks, io: Arrays, calls: Mapping[str, NetworkCall], appearance: Appearance) -> None:
    inputs = {**single_step(io), "token": appearance.token, "bank": appearance.bank}
    with torch.inference_mode():
        assert_close(calls[DENOISER](inputs)["velocity"], io["stepA.pred_nocfg"])
        assert_close(calls[UNCONDITIONAL](single_step(io))["velocity"], io["stepA.pred_noref_zeroemb"])
        rounded = {**inputs, "bank": appearance.bank.half().float()}  # as the official code hands it over
        assert_close(calls[DENOISER](rounded)["velocity"], io["stepA.pred_nocfg_bank16"])


def test_inside_a_single_step(champ: Networks, io: Arrays, appearance: Appearance) -> None:
    seen: dict[str, Tensor] = {}
    unet = champ.denoiser
    parts = {
        "conv_in": unet.conv_in,
        "down0.attention0": unet.down_blocks[0].attentions[0],
        "down0.motion0": unet.down_blocks[0].motion_modules[0],
        "down0_out": unet.down_blocks[0].downsamplers[0],
        "down3_out": unet.down_blocks[3].motion_modules[0],
        "mid_out": unet.mid_block.resnets[1],
        "up0_out": unet.up_blocks[0].upsamplers[0],
        "up3_out": unet.up_blocks[3].motion_modules[1],
    }
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, part in parts.items()
    ]
    with torch.inference_mode():
        Denoiser(unet)(**single_step(io), token=appearance.token, bank=appearance.bank)
    for hook in hooks:
        hook.remove()
    for name in parts:
        assert_close(seen[name].transpose(0, 1)[None], io[f"stepA.{name}"])


def test_float64(champ: Networks, published: Path, io: Arrays) -> None:
    """The architecture is the same to the last digits, not only up to float32's rounding."""
    exact = load_networks(str(published))
    for network in (exact.denoiser, exact.reference, exact.encoders):
        network.double()
    token = torch.tensor(io["pre.clip_image_embeds_f64"])[:, None]
    with torch.inference_mode():
        maps = {kind: frames[:4] for kind, frames in recorded_maps(io).items()}
        inputs = {**single_step(io), "guidance": fuse(exact.encoders, maps, 4, Tensor.double)}
        inputs["latents"] = inputs["latents"].double()
        bank = pack(write_bank(exact.reference, torch.tensor(io["pre.ref_latents_f64"]), token))
        found = Denoiser(exact.denoiser)(**inputs, token=token, bank=bank)["velocity"]
    assert_close(found, io["stepA.pred_nocfg_f64"], 1e-6)


# Sampling


def test_classifier_free_guidance(io: Arrays, calls: Mapping[str, NetworkCall], appearance: Appearance) -> None:
    with torch.inference_mode():
        found = guided_velocity(calls, single_step(io), appearance, 3.5)
        assert_close(found, io["stepB.pred_guided"])
        assert_close(calls[UNCONDITIONAL](single_step(io))["velocity"], io["stepB.pred_uncond"])
        off = guided_velocity(calls, single_step(io), appearance, 1.0)
    assert_close(off, io["stepB.pred_cond"])


def test_scheduler(io: Arrays) -> None:
    scheduler = make_scheduler()
    assert_close(scheduler.alphas_cumprod, io["sched.alphas_cumprod"], 1e-5)
    assert_close(scheduler.betas, io["sched.betas"], 1e-5)
    for steps in (3, 10, 20, 25, 30, 50):
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == io[f"sched.timesteps_{steps}"].tolist()


@pytest.mark.parametrize(
    ("run", "noise", "scale"),
    [("sample_short", "short", 3.5), ("sample_nocfg", "short", 1.0), ("sample_long", "long", 3.5)],
)
def test_complete_sampling(
    champ: Networks,
    io: Arrays,
    calls: Mapping[str, NetworkCall],
    appearance: Appearance,
    guidance: Tensor,
    run: str,
    noise: str,
    scale: float,
) -> None:
    start = torch.tensor(io[f"in.noise_{noise}"])
    frames = start.shape[2]
    with torch.inference_mode():
        steps = list(
            sample(
                calls,
                start,
                guidance[:, :, :frames],
                appearance,
                lambda step: closed_windows(frames, 4, 2),
                steps=3,
                scale=scale,
            )
        )
    velocities, latents = (torch.stack(part) for part in zip(*steps, strict=True))
    assert_close(velocities, io[f"{run}.model_output_per_step"], SAMPLED)
    assert_close(latents, io[f"{run}.latents_per_step"], SAMPLED)
    assert_close(latents[0], io[f"{run}.latents_per_step"][0], CLOSE)
    if run == "sample_short":
        with torch.inference_mode():
            video = decode(champ.vae, latents[-1][0].transpose(0, 1))
        assert_close(video[:1], io["sample_short.video_frame0"], SAMPLED)
        written = (video * 255).byte().transpose(0, 1)[None].int()
        assert int((written - torch.tensor(io["sample_short.video_u8"]).int()).abs().max()) <= 1


def test_windows(pack_folder: Path) -> None:
    cases = json.loads((pack_folder / "windows.json").read_text())
    assert cases
    for case in cases:
        found = closed_windows(
            case["num_frames"], case["context_frames"], case["context_overlap"], case["context_stride"], case["step"]
        )
        assert found == case["windows"]


def test_width_is_resized_before_height() -> None:
    """The order that Pillow had when the networks were trained; a narrow picture made wide shows the difference."""
    image = np.random.default_rng(0).integers(0, 256, (90, 40, 3), dtype=np.uint8)
    wide = PIL.Image.fromarray(image).resize((70, 90), PIL.Image.Resampling.LANCZOS)
    expected = np.asarray(wide.resize((70, 50), PIL.Image.Resampling.LANCZOS))
    assert np.array_equal(resize(image, (50, 70), PIL.Image.Resampling.LANCZOS), expected)
