"""Options of the 2D pose estimators and of the person detectors."""

from typing import Literal

from attrs import frozen

from posesyn_core import option


@frozen
class Pose2dConfig:
    """Options of a top-down 2D pose estimator in an ONNX file."""

    model: str = option("", "the .onnx file, as MMDeploy or the model's authors export it")
    joint_set: Literal["coco17", "mpii16", "lsp14", "openpose25"] = option("coco17", "the joints that it predicts")
    batch: int = option(16, "people in a forward pass, if the graph's batch is free", least=1, most=4_096)
    threads: int = option(0, "threads of ONNX Runtime; 0 = its own choice", least=0, most=1_024)


@frozen
class DetectorConfig:
    """Options of a person detector in an ONNX file."""

    model: str = option("", "the .onnx file, as MMDeploy exports it (and RTMPose's authors publish it)")
    min_score: float = option(0.5, "people of whom the detector is less sure are left out", least=0, most=1)
    size: int = option(640, "side of the input in pixels, if the graph leaves it open", least=32, most=4096)
    batch: int = option(1, "pictures in a forward pass, if the graph's batch is free", least=1, most=4_096)
    threads: int = option(0, "threads of ONNX Runtime; 0 = its own choice", least=0, most=1_024)
