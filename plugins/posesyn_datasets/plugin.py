"""What this plugin brings. The modules it imports are light: scipy and webdataset are loaded when first used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posesyn_core.components import Component, Kind, Licence, Need
from posesyn_core.files.presence import file_faults, layout_faults
from posesyn_core.geometry.skeletons import JointSet
from posesyn_core.hookspecs import hookimpl
from posesyn_datasets.captions import FileCaptions, FileCaptionsConfig
from posesyn_datasets.joint_sets import JOINT_SETS
from posesyn_datasets.readers.agora import AgoraConfig, AgoraReader
from posesyn_datasets.readers.coco import CocoConfig, CocoReader
from posesyn_datasets.readers.emdb import EmdbConfig, EmdbReader
from posesyn_datasets.readers.folder import FolderConfig, FolderReader
from posesyn_datasets.readers.human36m import Human36mConfig, human36m
from posesyn_datasets.readers.humman import HummanConfig, HummanReader
from posesyn_datasets.readers.images import DeepFashionConfig, DeepFashionReader, ImagesConfig, ImagesReader
from posesyn_datasets.readers.jhmdb import JhmdbConfig, JhmdbReader
from posesyn_datasets.readers.lspet import LspetConfig, LspetReader
from posesyn_datasets.readers.mpi_inf_3dhp import MpiInf3dhpConfig, mpi_inf_3dhp
from posesyn_datasets.readers.mpii import MpiiConfig, MpiiReader
from posesyn_datasets.readers.muco import MucoConfig, MucoReader
from posesyn_datasets.readers.panoptic import PanopticConfig, PanopticReader
from posesyn_datasets.readers.pw3d import Pw3dConfig, Pw3dReader
from posesyn_datasets.readers.skipose import SkiPoseConfig, SkiPoseReader
from posesyn_datasets.readers.video import Ucf101Config, Ucf101Reader, VideoConfig, VideoReader
from posesyn_datasets.writers.coco import CocoWriter, CocoWriterConfig
from posesyn_datasets.writers.spin import SpinWriter, SpinWriterConfig
from posesyn_datasets.writers.webdataset import WebDatasetWriter, WebDatasetWriterConfig

LICENCE = Licence(
    code="the data sets' documented formats",
    weights=(
        "none; each data set has its own licence, most for research only (3DPW, AGORA, EMDB, Human3.6M, MPI-"
        "INF-3DHP among them)"
    ),
    data="bound by the data set's licence; check yourself",
)
H5PY = Need("h5py", "pip install 'posesyn[hdf5]'", modules=("h5py",))
PYAV = Need("PyAV", "pip install 'posesyn[video]'", modules=("av",))


def root_lacks(config: Any) -> Iterator[str]:
    """Whether ``root``, a folder of pictures or videos or one of these, is there."""
    if not Path(config.root).expanduser().exists():
        yield f"the data set's root {str(config.root)!r} does not exist; set the option 'root'"


def captions_lack(config: FileCaptionsConfig) -> Iterator[str]:
    """Whether the file of captions is there."""
    yield from file_faults(config.file, "the file of captions", "name one with the option 'file'")


@hookimpl
def register_joint_sets() -> list[JointSet]:
    return JOINT_SETS


@hookimpl
def register_readers() -> list[Component]:
    return [
        Component(
            Kind.READER,
            "mpii",
            "MPII Human Pose: HRNet's JSON or the official .mat release",
            MpiiReader,
            MpiiConfig,
            licence=LICENCE,
            lacks=layout_faults(
                MpiiReader, "get images and mpii_human_pose_v1_u12_2.zip from http://human-pose.mpi-inf.mpg.de"
            ),
        ),
        Component(
            Kind.READER,
            "coco",
            "COCO person keypoints",
            CocoReader,
            CocoConfig,
            licence=LICENCE,
            lacks=layout_faults(CocoReader, "get images and annotations from https://cocodataset.org/#download"),
        ),
        Component(
            Kind.READER,
            "folder",
            "Any folder of images with one keypoint JSON",
            FolderReader,
            FolderConfig,
            licence=LICENCE,
            lacks=root_lacks,
        ),
        Component(
            Kind.READER,
            "panoptic",
            "CMU Panoptic Studio: 19 joints in 3D, 31 HD cameras",
            PanopticReader,
            PanopticConfig,
            licence=LICENCE,
            lacks=layout_faults(PanopticReader, "https://github.com/CMU-Perceptual-Computing-Lab/panoptic-toolbox"),
        ),
        Component(
            Kind.READER,
            "humman",
            "HuMMan: SMPL bodies seen by ten Kinects",
            HummanReader,
            HummanConfig,
            licence=LICENCE,
            lacks=layout_faults(HummanReader, "https://caizhongang.github.io/projects/HuMMan, reconstruction subset"),
        ),
        Component(
            Kind.READER,
            "agora",
            "AGORA: rendered scans of several people",
            AgoraReader,
            AgoraConfig,
            licence=LICENCE,
            lacks=layout_faults(AgoraReader, "https://agora.is.tue.mpg.de"),
        ),
        Component(
            Kind.READER,
            "skipose",
            "Ski-Pose PTZ-Camera: skiers' joints in 3D",
            SkiPoseReader,
            SkiPoseConfig,
            (H5PY,),
            licence=LICENCE,
            lacks=layout_faults(SkiPoseReader, "https://www.epfl.ch/labs/cvlab/data/ski-poseptz-dataset"),
        ),
        Component(
            Kind.READER,
            "images",
            "Any folder of unlabelled images",
            ImagesReader,
            ImagesConfig,
            licence=LICENCE,
            lacks=root_lacks,
        ),
        Component(
            Kind.READER,
            "deepfashion",
            "DeepFashion: unlabelled images",
            DeepFashionReader,
            DeepFashionConfig,
            licence=LICENCE,
            lacks=root_lacks,
        ),
        Component(
            Kind.READER,
            "video",
            "Any unlabelled video, or folder of videos",
            VideoReader,
            VideoConfig,
            (PYAV,),
            licence=LICENCE,
            lacks=root_lacks,
        ),
        Component(
            Kind.READER,
            "ucf101",
            "UCF101: unlabelled videos",
            Ucf101Reader,
            Ucf101Config,
            (PYAV,),
            licence=LICENCE,
            lacks=root_lacks,
        ),
        Component(
            Kind.READER,
            "lspet",
            "Leeds Sports Pose Extended: 2D evaluation",
            LspetReader,
            LspetConfig,
            licence=LICENCE,
            lacks=layout_faults(LspetReader, "https://sam.johnson.io/research/lspet.html"),
        ),
        Component(
            Kind.READER,
            "jhmdb",
            "JHMDB: 2D evaluation on video",
            JhmdbReader,
            JhmdbConfig,
            licence=LICENCE,
            lacks=layout_faults(JhmdbReader, "http://jhmdb.is.tue.mpg.de"),
        ),
        Component(
            Kind.READER,
            "3dpw",
            "3DPW: SMPL bodies in phone videos",
            Pw3dReader,
            Pw3dConfig,
            licence=LICENCE,
            lacks=layout_faults(Pw3dReader, "https://virtualhumans.mpi-inf.mpg.de/3DPW"),
        ),
        Component(
            Kind.READER,
            "human36m",
            "Human3.6M: 17 joints in 3D",
            human36m,
            Human36mConfig,
            licence=LICENCE,
            lacks=layout_faults(human36m, "http://vision.imar.ro/human3.6m"),
        ),
        Component(
            Kind.READER,
            "mpi_inf_3dhp",
            "MPI-INF-3DHP: 17 joints in 3D",
            mpi_inf_3dhp,
            MpiInf3dhpConfig,
            licence=LICENCE,
            lacks=layout_faults(mpi_inf_3dhp, "https://vcai.mpi-inf.mpg.de/3dhp-dataset"),
        ),
        Component(
            Kind.READER,
            "muco",
            "MuCo-3DHP: 21 joints in 3D, composited people",
            MucoReader,
            MucoConfig,
            licence=LICENCE,
            lacks=layout_faults(MucoReader, "https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson"),
        ),
        Component(
            Kind.READER,
            "emdb",
            "EMDB: SMPL bodies in phone videos",
            EmdbReader,
            EmdbConfig,
            licence=LICENCE,
            lacks=layout_faults(EmdbReader, "https://emdb.ait.ethz.ch"),
        ),
    ]


@hookimpl
def register_captioners() -> list[Component]:
    return [
        Component(
            Kind.CAPTIONER,
            "file",
            "Captions by sample id, from a JSON or CSV",
            FileCaptions,
            FileCaptionsConfig,
            licence=LICENCE,
            lacks=captions_lack,
        )
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
            licence=LICENCE,
        ),
        Component(
            Kind.WRITER,
            "coco",
            "COCO-style JSON with 3D labels, images beside it",
            CocoWriter,
            CocoWriterConfig,
            licence=LICENCE,
        ),
        Component(
            Kind.WRITER, "spin", "npz with SPIN's keys, images beside it", SpinWriter, SpinWriterConfig, licence=LICENCE
        ),
    ]
