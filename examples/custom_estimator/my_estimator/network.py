"""The network that you already have: here a small convolutional one that regresses 24 root-relative joints."""

import itertools

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Crops (B, 3, 96, 96) in [0, 1] -> joints3d (B, 24, 3) metres, camera frame, relative to the pelvis."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 16, 32, 64)
        layers = [nn.Sequential(nn.Conv2d(a, b, 5, 4, 2), nn.ReLU()) for a, b in itertools.pairwise(widths)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 72))

    def forward(self, crop: Tensor) -> dict[str, Tensor]:
        joints = self.body(crop).reshape(-1, 24, 3)
        return {"joints3d": joints - joints[:, :1]}
