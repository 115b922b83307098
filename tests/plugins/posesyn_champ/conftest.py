"""A tiny Champ in a folder of the published layout, and a plan to animate with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from posesyn_champ.weights import Networks, random_networks
from posesyn_core.body.model import load_body
from posesyn_core.geometry.cameras import project
from posesyn_core.values import ClipPlan, PoseEstimate, Sample
from tests.tiny import people


def save_folder(networks: Networks, folder: Path) -> Path:
    """Write networks as Champ's authors publish theirs."""
    (folder / "champ").mkdir(parents=True)
    state = networks.denoiser.state_dict()
    files = {
        "denoising_unet": {name: tensor for name, tensor in state.items() if "motion_modules" not in name},
        "motion_module": {name: tensor for name, tensor in state.items() if "motion_modules" in name},
        "reference_unet": networks.reference.state_dict(),
        **{f"guidance_encoder_{kind}": encoder.state_dict() for kind, encoder in networks.encoders.items()},
    }
    for name, tensors in files.items():
        torch.save(dict(tensors), folder / "champ" / f"{name}.pth")
    networks.image_encoder.save_pretrained(folder / "image_encoder")
    networks.vae.save_pretrained(folder / "sd-vae-ft-mse")
    sizes = networks.denoiser.sizes
    config = {
        "block_out_channels": sizes.channels, "layers_per_block": sizes.layers, "attention_head_dim": sizes.heads,
        "norm_num_groups": sizes.groups, "cross_attention_dim": sizes.token, "in_channels": sizes.latents,
    }  # fmt: skip
    (folder / "stable-diffusion-v1-5" / "unet").mkdir(parents=True)
    (folder / "stable-diffusion-v1-5" / "unet" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published layout with the weights of "random"."""
    return save_folder(random_networks(), tmp_path_factory.mktemp("champ") / "pretrained_models")


def plan_of(reference: Sample, frames: int, seed: int = 0) -> ClipPlan:
    """The person of a rendered picture, whose body is known, raises an arm."""
    smpl, camera = reference.smpl, reference.camera
    assert smpl is not None and camera is not None
    pose = np.repeat(smpl.body_pose[None], frames, axis=0)
    pose[:, 15, 2] += np.linspace(0, 1.5, frames)
    orient, transl, betas = (np.repeat(a[None], frames, axis=0) for a in (smpl.global_orient, smpl.transl, smpl.betas))
    with torch.inference_mode():
        joints = load_body().joints(*(torch.tensor(a) for a in (orient, pose, betas, transl))).numpy()
    pixels = project(joints, camera.focal_length, camera.principal_point)
    return ClipPlan(
        id="clip",
        motion_id="motion",
        sample_id="hard",
        caption="",
        reference=reference,
        reference_estimate=PoseEstimate(joints[0] - joints[0, :1], pixels[0], camera, smpl),
        camera=camera,
        fps=20.0,
        seed=seed,
        residual_mm=0.0,
        global_orient=orient,
        body_pose=pose,
        betas=smpl.betas,
        transl=transl,
        joints3d=joints,
        joints2d=pixels,
    )


@pytest.fixture(scope="session")
def reference() -> Sample:
    return people(2)[0]
