"""Where the networks are while they run and while they wait: diffusers' own ways of offloading."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from posesyn_core.errors import UserError
from posesyn_wan.config import WanConfig

REMEDIES = (
    "lower segment_frames, width and height, turn vae_tiling on, take precision 'bf16', or set offload to 'model', "
    "'group' or 'sequential'"
)
"""What to do about a clip for which memory does not suffice."""


def settle(pipeline: Any, config: WanConfig) -> None:
    """Put the pipeline's networks where they wait. UserError if the device can't be used."""
    pipeline.set_progress_bar_config(disable=True)
    if config.vae_tiling:
        pipeline.vae.enable_tiling()
    device = torch.device(config.device)
    try:
        if config.offload == "none":
            pipeline.to(device)
        elif config.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif config.offload == "sequential":
            _layer_by_layer(pipeline, device)
        else:
            _in_groups(pipeline, config, device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises the latter
        reason = str(error).splitlines()[0]
        raise UserError(f"the device {config.device!r} can't be used: {reason}; choose another") from error


def _layer_by_layer(pipeline: Any, device: torch.device) -> None:
    """As the pipeline's own method, which can't take a device without a number (the CPU)."""
    from accelerate import cpu_offload

    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            cpu_offload(part, device, offload_buffers=bool(part._parameters))


def _in_groups(pipeline: Any, config: WanConfig, device: torch.device) -> None:
    folder = str(Path(config.group_folder).expanduser()) if config.group_folder else None
    pipeline.enable_group_offload(
        onload_device=device,
        offload_type="block_level",
        num_blocks_per_group=config.group_blocks,
        offload_to_disk_path=folder,
    )
