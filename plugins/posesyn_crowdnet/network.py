"""3DCrowdNet's network: image crop and 2D pose -> joints in the crop, SMPL pose and shape, camera.

Choi et al., "Learning to Estimate Robust 3D Human Mesh from In-the-Wild Crowded Scenes", CVPR 2022, with the decoder of
VPoser V1 (Pavlakos et al., CVPR 2019). Read top to bottom:

1. ``Heatmaps`` draws the 2D pose; ``pose2feat`` joins it to the early features of a ResNet-50, so that the backbone
   attends to the person whose pose was given (their section 3.1).
2. ``PositionNet`` locates 15 joints in the crop by a soft argmax over an 8x8x8 volume (section 3.2).
3. ``RotationNet`` samples the features at those joints and runs a graph network with weights of each joint's own;
   linear heads give root rotation, VPoser's code, betas and camera (section 3.2).
4. ``VPoser`` decodes the code into the rotations of 21 body joints.

Parameter names are those of the official code, so that its checkpoints load strictly. Two places differ from it in
form, not in value: grid sampling at soft-argmax coordinates is written as products with hat functions, and the 15
linear layers of a graph block are one batched product at inference. Both export to ONNX and TensorRT as they are.
One place differs in value: the official cross product of the root's 6D rotation takes the batch for its axis when the
batch has exactly three samples; here the axis is always the right one.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from posesyn_core.geometry.rotations import six_d_to_matrix
from posesyn_core.inference.resnet import Bottleneck, residual_group
from posesyn_crowdnet.joints import GRAPH, GRAPH_EDGES, SUPERSET, flip_order

CROP = 256
HEATMAP = 64
"""Side of the input heatmaps; 2D joints are given in this unit (crop pixels / 4)."""
SIGMA = 2.5
VOLUME = 8
"""Side of the feature map and of the volume of a joint's probabilities."""
CODE = 32
BODY_JOINTS = 21


@frozen
class Sizes:
    """The sizes of a network; the defaults are the published ones. ``vertices`` 0 = no body comes with it."""

    width: int = 64
    graph: int = 128
    prior: int = 512
    vertices: int = 6890
    faces: int = 13776


class CrowdNetwork(nn.Module):
    """Crops and 2D poses in, joints, SMPL parameters and camera out."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        """Random weights. The body of ``human_model_layer`` is zero until it is set."""
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        features = 32 * sizes.width
        self.heatmaps = Heatmaps()
        self.backbone = Backbone(sizes.width)
        self.pose2feat = PoseToFeature(sizes.width)
        self.position_net = PositionNet(features)
        self.rotation_net = RotationNet(features, sizes.graph)
        self.vposer = VPoserHolder(sizes.prior)
        self.root_rotation = SixDToMatrix()
        self.human_model_layer = BodyBuffers(sizes.vertices, sizes.faces) if sizes.vertices else None
        for part in (self.backbone, self.pose2feat, self.rotation_net):
            part.apply(_initialise)

    def forward(self, images: Tensor, joints: Tensor, joints_mask: Tensor) -> dict[str, Tensor]:
        """``images`` (B, 3, 256, 256) RGB in 0..1, ``joints`` (B, 30, 2) in 0..64, ``joints_mask`` (B, 30, 1) 0 or 1.

        Returns ``joint_img`` (B, 15, 3), the graph's joints: x, y, z in 0..56 of a volume of 64 (eight times the index
        of the cell, as published); ``joint_score`` (B, 15, 1); ``rotmat`` (B, 24, 3, 3), SMPL's rotations, the root's
        first (camera frame: x right, y down, z away); ``shape`` (B, 10) betas; ``cam`` (B, 3), see ``camera``.
        """
        early = self.backbone.early(images)
        features = self.backbone(self.pose2feat(early, self.heatmaps(joints, joints_mask)))
        place, score = self.position_net(features)
        root, code, shape, cam = self.rotation_net(features, place.detach(), score.detach())
        return {
            "joint_img": place * (HEATMAP / VOLUME),
            "joint_score": score,
            "rotmat": torch.cat([self.root_rotation(root)[:, None], self.vposer(code)], dim=1),
            "shape": shape,
            "cam": cam,
        }


class Heatmaps(nn.Module):
    """The 2D pose as pictures: a Gaussian of peak 1 per joint."""

    def forward(self, joints: Tensor, mask: Tensor) -> Tensor:
        """(B, 30, 2) and (B, 30, 1) -> (B, 30, 64, 64), without a gradient."""
        cells = torch.arange(HEATMAP, dtype=joints.dtype, device=joints.device)
        across, down = torch.exp(-(((cells - joints.detach()[..., None]) / SIGMA) ** 2) / 2).unbind(2)
        return down[..., :, None] * across[..., None, :] * mask[..., None]


class Backbone(nn.Module):
    """A ResNet-50 without its head, in two parts: ``early`` and the four groups of blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_group(Bottleneck, width, width, 3)
        self.layer2 = residual_group(Bottleneck, 4 * width, 2 * width, 4, stride=2)
        self.layer3 = residual_group(Bottleneck, 8 * width, 4 * width, 6, stride=2)
        self.layer4 = residual_group(Bottleneck, 16 * width, 8 * width, 3, stride=2)

    def early(self, images: Tensor) -> Tensor:
        """(B, 3, 256, 256) -> (B, width, 64, 64)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, 64, 64) -> (B, 32 width, 8, 8)."""
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class PoseToFeature(nn.Module):
    """Joins the heatmaps of the 2D pose to the early features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width + len(SUPERSET), width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )

    def forward(self, features: Tensor, heatmaps: Tensor) -> Tensor:
        """(B, width, 64, 64), (B, 30, 64, 64) -> (B, width, 64, 64)."""
        return self.conv(torch.cat([features, heatmaps], dim=1))


class PositionNet(nn.Module):
    """Where the 15 joints are in the crop and in depth, and how sure that is."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(features, len(GRAPH) * VOLUME, 1))
        self.soft_argmax = SoftArgmax()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, 8, 8) -> places (B, 15, 3) x, y, z in 0..7 and scores (B, 15, 1)."""
        return self.soft_argmax(self.conv(features).unflatten(1, (len(GRAPH), VOLUME)))


class SoftArgmax(nn.Module):
    """The expected cell of a volume of logits, and the probability there."""

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 15, 8 depths, 8 rows, 8 columns) -> places (B, 15, 3) x, y, z and scores (B, 15, 1)."""
        volume = logits.flatten(2).softmax(2).view_as(logits)
        cells = torch.arange(VOLUME, dtype=volume.dtype, device=volume.device)
        x, y, z = ((volume.sum(axes) * cells).sum(2) for axes in ((2, 3), (2, 4), (3, 4)))
        place = torch.stack([x, y, z], dim=2)
        at_x, at_y, at_z = hat_weights(place).unbind(2)
        in_rows = (volume * at_x[:, :, None, None]).sum(4)
        in_depths = (in_rows * at_y[:, :, None]).sum(3)
        return place, (in_depths * at_z).sum(2, keepdim=True)


def hat_weights(place: Tensor) -> Tensor:
    """Linear interpolation's weight of each of 8 cells at the coordinates ``place`` (...): (..., 8)."""
    cells = torch.arange(VOLUME, dtype=place.dtype, device=place.device)
    return (1 - (place[..., None] - cells).abs()).clamp(min=0)


class RotationNet(nn.Module):
    """From the features at the joints, over the graph of joints, to rotations, shape and camera."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        joints = len(GRAPH)
        first = GraphBlock(features + 4, width)
        self.graph_block = nn.Sequential(first, *(GraphResidual(width) for _ in range(4)))
        self.root_pose_out = nn.Sequential(nn.Linear(joints * width, 6))
        self.pose_out = nn.Sequential(nn.Linear(joints * width, CODE))
        self.shape_out = nn.Sequential(nn.Linear(joints * width, 10))
        self.cam_out = nn.Sequential(nn.Linear(joints * width, 3))

    def forward(self, features: Tensor, place: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, C, 8, 8), (B, 15, 3), (B, 15, 1) -> root 6D (B, 6), code (B, 32), betas (B, 10), camera (B, 3)."""
        x = torch.cat([sample_features(features, place), place, score], dim=2)
        x = self.graph_block(x).flatten(1)
        return self.root_pose_out(x), self.pose_out(x), self.shape_out(x), self.cam_out(x)


def sample_features(features: Tensor, place: Tensor) -> Tensor:
    """Bilinear samples (B, 15, C) of ``features`` (B, C, 8, 8) at x, y of ``place`` (B, 15, 3)."""
    at_x, at_y = hat_weights(place[..., :2]).unbind(2)
    weights = (at_y[..., :, None] * at_x[..., None, :]).flatten(2)
    return weights @ features.flatten(2).mT


class GraphBlock(nn.Module):
    """A linear layer and a BatchNorm of each joint's own, then the exchange along the graph, then ReLU."""

    adjacency: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        own = (nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)) for _ in GRAPH)
        self.fcbn_list = nn.ModuleList(own)
        self.register_buffer("adjacency", torch.from_numpy(graph_adjacency()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 15, inputs) -> (B, 15, outputs)."""
        if self.training:
            own = torch.stack([layer(x[:, joint]) for joint, layer in enumerate(self.fcbn_list)], dim=1)
        else:
            weight, bias = self._folded()
            own = (x.transpose(0, 1) @ weight.mT + bias[:, None]).transpose(0, 1)
        return (self.adjacency @ own).relu()

    def _folded(self) -> tuple[Tensor, Tensor]:
        """All layers with their BatchNorms, for inference: weights (15, outputs, inputs), biases (15, outputs)."""
        linears, norms = zip(*self.fcbn_list, strict=True)
        variance = torch.stack([norm.running_var for norm in norms])
        gain = torch.stack([norm.weight for norm in norms]) / (variance + norms[0].eps).sqrt()
        shift = torch.stack([linear.bias for linear in linears]) - torch.stack([norm.running_mean for norm in norms])
        weight = torch.stack([linear.weight for linear in linears]) * gain[..., None]
        return weight, shift * gain + torch.stack([norm.bias for norm in norms])


class GraphResidual(nn.Module):
    """Two graph blocks beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.graph_block1 = GraphBlock(width, width)
        self.graph_block2 = GraphBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 15, width) -> (B, 15, width)."""
        return x + self.graph_block2(self.graph_block1(x))


@cache
def graph_adjacency() -> NDArray[np.float32]:
    """D^-1/2 (A + I) D^-1/2 (15, 15) of the skeleton's edges and the left-right pairs. Fixed, not in checkpoints."""
    matrix = np.eye(len(GRAPH))
    edges = np.array(GRAPH_EDGES)
    matrix[edges[:, 0], edges[:, 1]] = matrix[edges[:, 1], edges[:, 0]] = 1
    matrix[np.arange(len(GRAPH)), flip_order(GRAPH)] = 1
    scale = matrix.sum(1) ** -0.5
    return (scale[:, None] * matrix * scale).astype(np.float32)


class SixDToMatrix(nn.Module):
    """6D rotations to matrices; a module, so that an engine can be told to compute it in float32."""

    def forward(self, six_d: Tensor) -> Tensor:
        """(..., 6), a 3x2 matrix read row by row -> (..., 3, 3)."""
        return six_d_to_matrix(six_d, "interleaved")


class VPoserHolder(nn.Module):
    """VPoser where official checkpoints have it (``vposer.vposer``), with hands that do not move."""

    def __init__(self, neurons: int) -> None:
        super().__init__()
        self.vposer = VPoser(neurons)

    def forward(self, code: Tensor) -> Tensor:
        """(B, 32) -> (B, 23, 3, 3), SMPL's joints 1 to 23."""
        still = torch.eye(3, dtype=code.dtype, device=code.device).expand(len(code), 2, 3, 3)
        return torch.cat([self.vposer(code), still], dim=1)


class VPoser(nn.Module):
    """VPoser V1: a variational autoencoder of body poses. 3DCrowdNet uses its decoder; the encoder is kept with it."""

    def __init__(self, neurons: int) -> None:
        super().__init__()
        inputs = BODY_JOINTS * 3
        self.bodyprior_enc_bn1 = nn.BatchNorm1d(inputs)
        self.bodyprior_enc_fc1 = nn.Linear(inputs, neurons)
        self.bodyprior_enc_bn2 = nn.BatchNorm1d(neurons)
        self.bodyprior_enc_fc2 = nn.Linear(neurons, neurons)
        self.bodyprior_enc_mu = nn.Linear(neurons, CODE)
        self.bodyprior_enc_logvar = nn.Linear(neurons, CODE)
        self.dropout = nn.Dropout(0.1)
        self.bodyprior_dec_fc1 = nn.Linear(CODE, neurons)
        self.bodyprior_dec_fc2 = nn.Linear(neurons, neurons)
        self.bodyprior_dec_out = nn.Linear(neurons, BODY_JOINTS * 6)
        self.rotations = SixDToMatrix()

    def forward(self, code: Tensor) -> Tensor:
        """Decode: (B, 32) -> rotation matrices (B, 21, 3, 3) of SMPL's joints 1 to 21."""
        x = self.dropout(leaky_relu(self.bodyprior_dec_fc1(code), 0.2))
        x = leaky_relu(self.bodyprior_dec_fc2(x), 0.2)
        return self.rotations(self.bodyprior_dec_out(x).unflatten(1, (BODY_JOINTS, 6)))

    def encode(self, body_pose: Tensor) -> tuple[Tensor, Tensor]:
        """Axis-angles (B, 63) of 21 joints -> mean and standard deviation (B, 32) of their code."""
        x = leaky_relu(self.bodyprior_enc_fc1(self.bodyprior_enc_bn1(body_pose)), 0.2)
        x = leaky_relu(self.bodyprior_enc_fc2(self.dropout(self.bodyprior_enc_bn2(x))), 0.2)
        return self.bodyprior_enc_mu(x), nn.functional.softplus(self.bodyprior_enc_logvar(x))


BODY = ("th_v_template", "th_shapedirs", "th_posedirs", "th_J_regressor", "th_weights", "th_faces")


class BodyBuffers(nn.Module):
    """The neutral SMPL body that official checkpoints carry along; the network itself does not compute with it."""

    th_v_template: Tensor
    th_shapedirs: Tensor
    th_posedirs: Tensor
    th_J_regressor: Tensor
    th_weights: Tensor
    th_faces: Tensor

    def __init__(self, vertices: int, faces: int) -> None:
        super().__init__()
        shapes = {
            "th_betas": (1, 10), "th_shapedirs": (vertices, 3, 10), "th_posedirs": (vertices, 3, 207),
            "th_v_template": (1, vertices, 3), "th_J_regressor": (24, vertices), "th_weights": (vertices, 24),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("th_faces", torch.zeros(faces, 3, dtype=torch.int64))


def camera(cam: Tensor, side: Tensor | float) -> Tensor:
    """The camera's numbers (B, 3) -> translation (B, 3) metres, for a focal length of 5000 pixels.

    x and y as they are; z = k sigmoid(cam_z) with k = sqrt(5000^2 2.5^2 / side^2), the depth at which 2.5 metres fill
    ``side`` pixels. ``side`` 256 is the crop's own camera, that of the square cut from the image the full image's.
    """
    depth = cam[:, 2].sigmoid() * (FOCAL_LENGTH * CAMERA_EXTENT / side)
    return torch.column_stack([cam[:, :2], depth])


FOCAL_LENGTH = 5000.0
CAMERA_EXTENT = 2.5


def sizes_of(state: Mapping[str, Tensor]) -> Sizes:
    """The sizes of the network that a state dict belongs to; KeyError if it is none of 3DCrowdNet's."""
    body = {name: state.get(f"human_model_layer.{name}") for name in BODY}
    template, faces = body["th_v_template"], body["th_faces"]
    complete = all(tensor is not None for tensor in body.values())
    return Sizes(
        width=state["backbone.conv1.weight"].shape[0],
        graph=state["rotation_net.graph_block.0.fcbn_list.0.0.weight"].shape[0],
        prior=state["vposer.vposer.bodyprior_dec_fc1.weight"].shape[0],
        vertices=template.shape[1] if complete and template is not None else 0,
        faces=faces.shape[0] if complete and faces is not None else 0,
    )


def _initialise(module: nn.Module) -> None:
    """Random weights: the official N(0, 0.01) for linear layers, He's for convolutions.

    Official training starts from a pretrained backbone. Blocks that begin as little more than their shortcut keep the
    features of a random one in bounds.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Bottleneck):
        nn.init.constant_(module.bn3.weight, 0.1)
