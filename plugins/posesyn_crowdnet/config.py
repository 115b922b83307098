"""Options of the estimator ``crowdnet``."""

from typing import Literal

from attrs import frozen

from posesyn_core import option
from posesyn_core.components import KeypointEstimator


@frozen
class CrowdNetConfig:
    """Options of the estimator ``crowdnet``."""

    weights: str = option(
        "random",
        "a file: an official snapshot (.pth.tar) or a .safetensors written here; 'random' (small, untrained) or "
        "'random-full' (untrained at the published size)",
    )
    body: str = option(
        "",
        "the SMPL file (.npz or official .pkl) that gives the joints; empty = the body that official snapshots bring "
        "along, the free body for random weights; 'free' = the free body in any case",
    )
    detections: str = option(
        "",
        "JSON of 2D detections by sample id or image name, [x, y, confidence] a joint (17 COCO, 18 or 25 OpenPose); "
        "empty = those of 'keypoints'",
    )
    keypoints: KeypointEstimator | None = option(
        None,
        "a 2D estimator, as 'rtmpose' or with its options, whose joints are the network's input, of synthesised frames "
        "too; where a data set ships detections (3DPW: OpenPose's) it gets those, as officially; unset = the labels",
    )
    confidence: float = option(
        0.05, "2D joints must be surer than this (official: 0.05 on 3DPW, 0.1 in the demo)", least=0, most=1
    )
    crop: Literal["pose", "box"] = option(
        "pose", "what is cut out: the surroundings of the 2D pose (official test) or of the person box"
    )
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    synthesise_errors: bool = option(
        True, "training: disturb true 2D joints like a detector's (switch off where they are detections already)"
    )
    h36m_regressor: str = option(
        "",
        "training: J_regressor_h36m.npy, to leave out bad fits of Human3.6M and MuCo as published; empty = keep all",
    )
    extra_regressor: str = option(
        "", "training: J_regressor_extra.npy (SPIN's), to train on the head's top too; empty = without it"
    )
