"""Whether a reader's sample is drawn as it says: what the report shows of a data set."""

import numpy as np
from attrs import evolve

from posesyn_core.drawing.truth import BOX, MARGIN, seen_truth, truth_tile
from posesyn_core.files.images import encode_png
from posesyn_core.geometry.crops import apply_affine, crop_matrix
from posesyn_core.values import Sample

SIDE = 360


def drawn(sample: Sample, apart: float = 1.0) -> None:
    """Draw the sample on white: the box stands there, every label in it, and the 3D truth, if any, on the labels.

    ``apart`` pixels at most lie between labels and projected truth: more than 1 where the data set's lens distorts.
    """
    labels, known = sample.keypoints2d, sample.confidence > 0
    width, height = np.ceil(np.maximum(sample.box[2:], labels.max(0)) + 9).astype(int)
    white = evolve(sample, image=encode_png(np.full((max(height, 9), max(width, 9), 3), 255, np.uint8)))
    tile = truth_tile(white, SIDE).astype(int)
    assert (np.abs(tile - BOX) < 9).all(-1).sum() > SIDE
    places = apply_affine(crop_matrix(sample.box, SIDE, MARGIN), labels[known]).round().astype(int)
    for x, y in places[((places >= 1) & (places < SIDE - 1)).all(1)]:
        assert (tile[y, x] < 250).any(), (sample.id, x, y)
    seen = seen_truth(sample)
    assert (seen is None) == (sample.camera is None or (sample.keypoints3d is None and sample.joints3d is None))
    if seen is not None and seen[1] == sample.joint_set:
        shown = known & np.isfinite(seen[0]).all(1)
        assert shown.any()
        assert np.abs(seen[0] - labels)[shown].max() < apart, sample.id
