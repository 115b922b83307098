"""BlazePose as a 2D labeller, and who of a picture's pixels is the person."""

from collections.abc import Sequence

import torch
from numpy.typing import NDArray

from posesyn_blazepose.config import LabellerConfig
from posesyn_blazepose.looker import Seen, look_where_told, mask_in_picture
from posesyn_blazepose.rois import FIRST_MARGIN, square_of_box
from posesyn_blazepose.weights import load_landmarks, usual_looks
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.geometry.skeletons import BLAZEPOSE33
from posesyn_core.values import FloatArray, Image, Keypoints, Sample


class BlazePoseLabeller:
    """A KeypointEstimator that can also tell masks."""

    joint_set = BLAZEPOSE33.name

    def __init__(self, config: LabellerConfig) -> None:
        """UserError if the weights can't be loaded."""
        self.network = load_landmarks(config.weights).to(config.device)
        self.first = load_landmarks("lite").to(config.device)
        self.looks = config.looks or usual_looks(self.network)
        for network in (self.network, self.first):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def detect(self, samples: Sequence[Sample]) -> list[Keypoints]:
        """The landmarks of the person in each sample's box; confidence = visibility x presence."""
        return _told(self._look([load_image(sample.image) for sample in samples], samples))

    def masks(self, samples: Sequence[Sample]) -> list[FloatArray]:
        """Per sample (H, W): how surely each pixel of its picture shows the person in its box, 0..1."""
        return [mask for _, mask in self.detect_with_masks(samples)]

    def detect_with_masks(self, samples: Sequence[Sample]) -> list[tuple[Keypoints, FloatArray]]:
        """Both, of one look."""
        images = [load_image(sample.image) for sample in samples]
        seen = self._look(images, samples, masks=True)
        logits = seen.masks
        assert logits is not None
        shown = (mask_in_picture(*one) for one in zip(logits, seen.rois, images, strict=True))
        return list(zip(_told(seen), shown, strict=True))

    def _look(self, images: Sequence[Image], samples: Sequence[Sample], *, masks: bool = False) -> Seen:
        boxes: list[NDArray] = []
        for image, sample in zip(images, samples, strict=True):
            check_box(sample.box, image.shape[1], image.shape[0])
            boxes.append(sample.box)
        networks = [self.first] + [self.network] * (self.looks - 1)
        return look_where_told(networks, images, square_of_box(boxes, FIRST_MARGIN), masks=masks)


def _told(seen: Seen) -> list[Keypoints]:
    return [
        Keypoints(points, visibility * presence)
        for points, visibility, presence in zip(seen.points, seen.visibility, seen.presence, strict=True)
    ]
