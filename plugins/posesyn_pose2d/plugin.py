"""What this plugin brings; ONNX Runtime is imported when an estimator is made."""

from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from posesyn_core.components import Component, Kind, Need, option
from posesyn_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from posesyn_pose2d.detector import OnnxDetector
    from posesyn_pose2d.estimator import OnnxKeypoints

ONNX_RUNTIME = Need("ONNX Runtime", "pip install 'posesyn[onnx]'", modules=("onnxruntime",))


@frozen
class Pose2dConfig:
    """Options of a top-down 2D pose estimator in an ONNX file."""

    model: str = option("", "the .onnx file, as MMDeploy or the model's authors export it")
    joint_set: Literal["coco17", "mpii16", "lsp14", "openpose25"] = option("coco17", "the joints that it predicts")
    batch: int = option(16, "people in a forward pass, if the graph's batch is free")
    threads: int = option(0, "threads of ONNX Runtime; 0 = its own choice")


@frozen
class DetectorConfig:
    """Options of a person detector in an ONNX file."""

    model: str = option("", "the .onnx file, as MMDeploy exports it (and RTMPose's authors publish it)")
    min_score: float = option(0.5, "people of whom the detector is less sure are left out")
    size: int = option(640, "side of the input in pixels, if the graph leaves it open")
    batch: int = option(1, "pictures in a forward pass, if the graph's batch is free")
    threads: int = option(0, "threads of ONNX Runtime; 0 = its own choice")


def _make(kind: Literal["simcc", "heatmaps"]) -> Any:
    def make(config: Pose2dConfig) -> "OnnxKeypoints":
        from posesyn_pose2d.estimator import OnnxKeypoints

        return OnnxKeypoints(config, kind)

    return make


@hookimpl
def register_keypoint_estimators() -> list[Component]:
    """RTMPose and ViTPose differ in what their networks put out, and in how a crop is laid over its pixels."""
    return [
        Component(
            Kind.KEYPOINTS,
            "rtmpose",
            "RTMPose (Apache-2.0) from an ONNX file: two 1D distributions a joint (SimCC)",
            _make("simcc"),
            Pose2dConfig,
            (ONNX_RUNTIME,),
        ),
        Component(
            Kind.KEYPOINTS,
            "vitpose",
            "ViTPose (Apache-2.0) from an ONNX file: a heatmap a joint",
            _make("heatmaps"),
            Pose2dConfig,
            (ONNX_RUNTIME,),
        ),
    ]


def _make_detector(kind: Literal["rtmdet", "yolox"]) -> Any:
    def make(config: DetectorConfig) -> "OnnxDetector":
        from posesyn_pose2d.detector import OnnxDetector

        return OnnxDetector(config, kind)

    return make


@hookimpl
def register_detectors() -> list[Component]:
    """RTMDet and YOLOX differ in the numbers that a picture is given as."""
    return [
        Component(
            Kind.DETECTOR,
            "rtmdet",
            "RTMDet (Apache-2.0) from an ONNX file: the people in a picture",
            _make_detector("rtmdet"),
            DetectorConfig,
            (ONNX_RUNTIME,),
        ),
        Component(
            Kind.DETECTOR,
            "yolox",
            "YOLOX (Apache-2.0) from an ONNX file: the people in a picture",
            _make_detector("yolox"),
            DetectorConfig,
            (ONNX_RUNTIME,),
        ),
    ]
