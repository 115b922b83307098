"""What this plugin brings; ONNX Runtime is imported when an estimator is made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from posesyn_core.components import Component, Kind, Licence, Need
from posesyn_core.files.presence import file_faults
from posesyn_core.hookspecs import hookimpl
from posesyn_pose2d.config import DetectorConfig, Pose2dConfig

if TYPE_CHECKING:
    from posesyn_pose2d.detector import OnnxDetector
    from posesyn_pose2d.estimator import OnnxKeypoints

LICENCE = Licence(
    code="MMPose, MMDetection, ViTPose, YOLOX (each Apache-2.0)",
    weights=(
        "the published ones: Apache-2.0, trained on COCO and others (annotations CC BY 4.0, pictures under their "
        "owners' terms)"
    ),
    data="yours, as far as the pictures are",
)
ONNX_RUNTIME = Need("ONNX Runtime", "pip install 'posesyn[onnx]'", modules=("onnxruntime",))


MODELS = "download RTMPose's onnx_sdk zip from https://github.com/open-mmlab/mmpose/tree/main/projects/rtmpose"


def lacks(config: Pose2dConfig | DetectorConfig) -> Iterator[str]:
    """The model, if it is not there."""
    yield from file_faults(config.model or "model.onnx", "the ONNX file (option 'model')", MODELS)


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
            licence=LICENCE,
            lacks=lacks,
        ),
        Component(
            Kind.KEYPOINTS,
            "vitpose",
            "ViTPose (Apache-2.0) from an ONNX file: a heatmap a joint",
            _make("heatmaps"),
            Pose2dConfig,
            (ONNX_RUNTIME,),
            licence=LICENCE,
            lacks=lacks,
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
            licence=LICENCE,
            lacks=lacks,
        ),
        Component(
            Kind.DETECTOR,
            "yolox",
            "YOLOX (Apache-2.0) from an ONNX file: the people in a picture",
            _make_detector("yolox"),
            DetectorConfig,
            (ONNX_RUNTIME,),
            licence=LICENCE,
            lacks=lacks,
        ),
    ]
