"""What this plugin brings. The modules it imports are light: scipy and webdataset are loaded when first used."""

from posesyn_core.components import Component, Kind
from posesyn_core.hookspecs import hookimpl
from posesyn_datasets.captions import FileCaptions, FileCaptionsConfig
from posesyn_datasets.coco import CocoConfig, CocoReader
from posesyn_datasets.coco_writer import CocoWriter, CocoWriterConfig
from posesyn_datasets.folder import FolderConfig, FolderReader
from posesyn_datasets.mpii import MpiiConfig, MpiiReader
from posesyn_datasets.spin_writer import SpinWriter, SpinWriterConfig
from posesyn_datasets.webdataset_writer import WebDatasetWriter, WebDatasetWriterConfig


@hookimpl
def register_readers() -> list[Component]:
    return [
        Component(
            Kind.READER, "mpii", "MPII Human Pose: HRNet's JSON or the official .mat release", MpiiReader, MpiiConfig
        ),
        Component(Kind.READER, "coco", "COCO person keypoints", CocoReader, CocoConfig),
        Component(Kind.READER, "folder", "Any folder of images with one keypoint JSON", FolderReader, FolderConfig),
    ]


@hookimpl
def register_captioners() -> list[Component]:
    return [
        Component(Kind.CAPTIONER, "file", "Captions by sample id, from a JSON or CSV", FileCaptions, FileCaptionsConfig)
    ]


@hookimpl
def register_writers() -> list[Component]:
    return [
        Component(
            Kind.WRITER,
            "webdataset",
            "WebDataset tar shards: a .jpg and a .json per frame",
            WebDatasetWriter,
            WebDatasetWriterConfig,
        ),
        Component(
            Kind.WRITER, "coco", "COCO-style JSON with 3D labels, images beside it", CocoWriter, CocoWriterConfig
        ),
        Component(Kind.WRITER, "spin", "npz with SPIN's keys, images beside it", SpinWriter, SpinWriterConfig),
    ]
