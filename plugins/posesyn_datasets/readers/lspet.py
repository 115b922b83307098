"""LSPET, Leeds Sports Pose Extended (Johnson and Everingham, CVPR 2011): 10,000 athletes, 14 joints in 2D.

From https://sam.johnson.io/research/lspet.html (or the high-resolution pictures of HR-LSPET), unpacked in ``root``::

    root/joints.mat                 joints (14, 3, N): x, y in pixels, and 1 = labelled or 0
    root/images/im00001.jpg ...     (HR-LSPET: root/im00001.png ...)

Coordinates are taken as they are, as SPIN takes them. The head size of PCKh is the distance from neck to head top, as
no head boxes were published; without both joints a person has none, and does not count in PCKh.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from attrs import NOTHING, define, field

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.files.locating import Pictures, PicturesAt
from posesyn_core.geometry.boxes import joint_boxes
from posesyn_core.geometry.skeletons import LSP14
from posesyn_core.values import EvaluationProtocol, FloatArray, Sample, SampleOrRejection, Url
from posesyn_datasets.readers.annotations import build_each, existing_root, find_images, keypoints
from posesyn_datasets.readers.checks import Floats, expect_layout, expect_shape
from posesyn_datasets.readers.foreign import read_mat

EXPECTED = "LSPET's joints.mat with 'joints', 14 x 3 x the number of images"
SOURCE = "unpack lspet_dataset.zip of https://sam.johnson.io/research/lspet.html there"
NECK, HEAD_TOP = LSP14.joints.index("neck"), LSP14.joints.index("head_top")


@define
class LspetConfig:
    """Where LSPET lies.

    Get it from https://sam.johnson.io/research/lspet.html; ``root`` holds ``joints.mat`` and ``images``.
    """

    root: Path = option(NOTHING, "folder of the data set, with joints.mat and images")
    images: str = option("", "image folder below root, or its address (s3://...); empty = images, or root itself")
    follow_links: bool = follow_links()


@define
class LspetReader:
    """Reads LSPET; ids: ``lspet/all/<image>``. All images are used: the set was published without a split."""

    config: LspetConfig
    protocol: EvaluationProtocol = field(init=False, default=EvaluationProtocol((), pckh=0.6))
    """The paper's PCKh: joints within 0.6 head sizes."""

    def __len__(self) -> int:
        return len(self._joints)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the images' numbers."""
        yield from build_each(((f"lspet/all/im{at + 1:05d}", at) for at in range(len(self))), self._sample)

    def check_layout(self) -> None:
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        expect_layout(existing_root(self.config.root, "lspet"), ["joints.mat"], "lspet", SOURCE)
        _ = self._images

    @cached_property
    def _joints(self) -> Floats:
        """(N, 14, 3)"""
        root = existing_root(self.config.root, "lspet")
        expect_layout(root, ["joints.mat"], "lspet", SOURCE)
        path = root / "joints.mat"
        joints = expect_shape(read_mat(path, ["joints"], EXPECTED)["joints"], (len(LSP14), 3, None), "joints", path)
        return joints.transpose(2, 0, 1)

    @cached_property
    def _images(self) -> Pictures | PicturesAt:
        return find_images(self.config.root, self.config.images, ["images"], follow_links=self.config.follow_links)

    def _sample(self, sample_id: str, at: int) -> Sample:
        rows = self._joints[at]
        points, confidence = keypoints(rows[:, :2], rows[:, 2], len(LSP14))
        jpeg, png = (self._images.at(f"im{at + 1:05d}{suffix}") for suffix in (".jpg", ".png"))
        return Sample(
            id=sample_id,
            image=jpeg if isinstance(jpeg, Url) or jpeg.is_file() else png,
            box=joint_boxes(points, confidence > 0),
            joint_set=LSP14.name,
            keypoints2d=points,
            confidence=confidence,
            head_size=_head_size(points, confidence),
        )


def _head_size(points: FloatArray, confidence: FloatArray) -> float | None:
    size = float(np.linalg.norm(points[HEAD_TOP] - points[NECK]))
    return size if confidence[NECK] > 0 and confidence[HEAD_TOP] > 0 and size > 0 else None
