"""Mesh simplification: fewer faces, the same closed surface."""

import numpy as np
import pytest

from posesyn_starter.simplify import collapse, visible_faces


@pytest.fixture(scope="module")
def sphere() -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere: an octahedron whose faces were split three times."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(3):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, index = np.unique(edges, axis=0, return_inverse=True)
        ab, bc, ca = (index.reshape(3, -1) + len(vertices)).tolist()
        a, b, c = faces.T
        vertices = np.concatenate([vertices, vertices[unique].mean(1)])
        faces = np.concatenate([np.stack(f, 1) for f in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return float((np.cross(a, b) * c).sum()) / 6


def test_collapsing_keeps_the_surface_closed_and_in_place(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = sphere
    fewer, texture = collapse(vertices, faces, faces, np.zeros((len(vertices), 1)), 120)
    assert len(np.unique(fewer)) == 120
    assert len(fewer) == 2 * 120 - 4  # Euler's formula for a closed surface without holes
    np.testing.assert_array_equal(fewer, texture)
    edges, count = np.unique(np.sort(np.concatenate([fewer[:, [0, 1]], fewer[:, [1, 2]], fewer[:, [2, 0]]])), axis=0,
                             return_counts=True)  # fmt: skip
    assert len(edges) and (count == 2).all()
    assert _volume(vertices, fewer) == pytest.approx(4.1, abs=0.3)


def test_seams_borders_and_unlike_vertices_stay(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = sphere
    right = vertices[faces].mean(1)[:, 0] > 0
    texture = faces + np.where(right, len(vertices), 0)[:, None]  # two charts that meet at x = 0
    features = np.zeros((len(vertices), 1))
    fewer, fewer_texture = collapse(vertices, faces, texture, features, 120)
    seam = np.intersect1d(faces[right], faces[~right])
    assert set(seam) <= set(fewer.ravel())
    np.testing.assert_array_equal(fewer_texture % len(vertices), fewer)
    half = faces[right]
    border_kept, _ = collapse(vertices, half, half, features, 60)
    assert set(seam) <= set(border_kept.ravel())


def test_only_what_can_be_seen_is_visible(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = sphere
    both = np.concatenate([vertices, 0.5 * vertices])
    visible = visible_faces(both, np.concatenate([faces, faces + len(vertices)]))
    assert visible[: len(faces)].all()
    assert not visible[len(faces) :].any()
