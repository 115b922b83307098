"""What the renderer shows must agree with the camera and with geometry known in closed form."""

import numpy as np
import pytest

from posesyn_core.body.render import (
    composite,
    diffuse,
    interpolate,
    normals,
    parts,
    render,
    texture_colours,
    vertex_normals,
    window,
)
from posesyn_core.values import Camera

CAMERA = Camera(np.array([300.0, 280.0]), np.array([70.0, 52.0]))
SIZE = (110, 150)


def sphere(rings: int = 60, sectors: int = 80, radius: float = 0.4, centre=(0.1, -0.05, 3.0)):
    """Vertices (V, 3) and outward faces (F, 3) of a latitude-longitude sphere."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.arange(sectors) * 2 * np.pi / sectors, indexing="ij")
    vertices = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1)
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(sectors), indexing="ij")
    a, b = i * sectors + j, i * sectors + (j + 1) % sectors
    faces = np.concatenate([np.stack([a, b, b + sectors], -1), np.stack([a, b + sectors, a + sectors], -1)])
    return vertices.reshape(-1, 3) * radius + np.array(centre), faces.reshape(-1, 3)


def pixel_rays() -> np.ndarray:
    """Direction (H, W, 3) with z = 1 through every pixel centre."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    x = (np.stack([u, v], axis=-1) - CAMERA.principal_point) / CAMERA.focal_length
    return np.concatenate([x, np.ones((*SIZE, 1))], axis=-1)


def true_sphere_depth(radius: float, centre: np.ndarray) -> np.ndarray:
    rays = pixel_rays()
    along = rays @ centre
    squared = (rays**2).sum(-1)
    root = along**2 - squared * (centre @ centre - radius**2)
    return np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / squared, np.inf)


def test_depth_and_normals_of_a_sphere():
    centre = np.array([0.1, -0.05, 3.0])
    vertices, faces = sphere(centre=centre)
    seen = render(vertices, faces, CAMERA, SIZE)
    expected = true_sphere_depth(0.4, centre)
    both = np.isfinite(expected) & seen.mask
    assert (np.isfinite(expected) != seen.mask).mean() < 0.01  # facets cut the outline by a hair
    assert both.sum() > 4000
    facing = np.zeros((*SIZE, 3))
    facing[both] = (pixel_rays()[both] * expected[both, None] - centre) / 0.4
    inner = both & (facing[..., 2] < -0.3)
    assert np.abs(seen.depth[inner] - expected[inner]).max() < 0.004
    assert np.abs(seen.dense(normals(seen, faces, vertex_normals(vertices, faces))) - facing)[inner].max() < 0.06


def test_back_faces_change_nothing_for_a_closed_body():
    vertices, faces = sphere()
    culled, full = (render(vertices, faces, CAMERA, SIZE, cull=cull) for cull in (True, False))
    assert np.array_equal(culled.face_index, full.face_index)


def test_vertices_appear_where_the_camera_projects_them():
    rng = np.random.default_rng(0)
    corners = np.array([[20, 15], [130, 25], [60, 95]], dtype=float)
    depth = rng.uniform(1, 4, 3)
    points = np.concatenate([(corners - CAMERA.principal_point) / CAMERA.focal_length, np.ones((3, 1))], axis=1)
    seen = render(points * depth[:, None], np.array([[0, 2, 1]]), CAMERA, SIZE)
    for corner, (u, v) in zip((0, 1, 2), corners.astype(int), strict=True):
        weight = seen.barycentric[v, u]
        assert weight[[0, 2, 1][corner]] == pytest.approx(1, abs=1e-4)
        assert seen.depth[v, u] == pytest.approx(depth[corner], abs=1e-4)
    assert not seen.mask[14].any() and not seen.mask[96].any() and not seen.mask[:, 131].any()


def test_interpolation_is_perspective_correct():
    """A slanted square: interpolated positions must project back onto their own pixels."""
    points = np.array([[-0.5, -0.3, 1.5], [0.5, -0.3, 4.0], [0.5, 0.5, 4.0], [-0.5, 0.5, 1.5]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    seen = render(points, faces, CAMERA, SIZE)
    position = interpolate(seen, faces, points)
    pixels = position[:, :2] / position[:, 2:] * CAMERA.focal_length + CAMERA.principal_point
    row, column = np.divmod(seen.pixel, SIZE[1])
    assert np.abs(pixels - np.stack([column, row], axis=1)).max() < 0.01
    assert np.abs(position[:, 2] - seen.distance).max() < 1e-4
    assert seen.mask[30:70, 40:90].all()  # no seam along the shared edge


def test_the_nearer_surface_hides_the_farther_one_whatever_their_order():
    near, faces = sphere(radius=0.2, centre=(0.0, 0.0, 2.0))
    far, _ = sphere(radius=0.6, centre=(0.0, 0.0, 4.0))
    labels = np.repeat([0, 1], len(faces))
    for order in ((near, far), (far, near)):
        seen = render(np.concatenate(order), np.concatenate([faces, faces + len(near)]), CAMERA, SIZE)
        part = seen.dense(parts(seen, labels), fill=-1)
        of_near = 0 if order[0] is near else 1
        assert part[52, 70] == of_near and part[52, 108] == 1 - of_near and part[0, 0] == -1


def test_what_is_behind_the_camera_is_not_drawn():
    vertices, faces = sphere(centre=(0.0, 0.0, -3.0))
    seen = render(vertices, faces, CAMERA, SIZE)
    assert not seen.mask.any() and np.isinf(seen.depth).all() and (seen.face_index == -1).all()


def test_memory_bound_changes_nothing(monkeypatch):
    vertices, faces = sphere()
    whole = render(vertices, faces, CAMERA, SIZE)
    monkeypatch.setattr("posesyn_core.body.render.CANDIDATES_AT_ONCE", 500)
    pieces = render(vertices, faces, CAMERA, SIZE)
    assert np.array_equal(whole.face_index, pieces.face_index) and np.array_equal(whole.depth, pieces.depth)


def test_texture_is_laid_on_by_its_coordinates():
    """A square filled by a texture that holds each texel's own u and v must show u and v."""
    points = np.array([[-0.4, -0.3, 2.0], [0.4, -0.3, 2.5], [0.4, 0.4, 2.5], [-0.4, 0.4, 2.0]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    corners = np.array([[0.1, 0.9], [0.9, 0.9], [0.9, 0.2], [0.1, 0.2]], dtype=np.float32)
    height, width = 40, 64
    u, v = (np.arange(width) + 0.5) / width, 1 - (np.arange(height) + 0.5) / height
    texture = np.stack(np.broadcast_arrays(u, v[:, None]), axis=-1).astype(np.float32)
    seen = render(points, faces, CAMERA, SIZE)
    found = texture_colours(seen, corners[faces], texture)
    assert np.abs(found - interpolate(seen, faces, corners)).max() < 1e-3


def test_a_texture_is_clamped_at_its_border():
    points, faces = np.array([[-0.4, -0.3, 2.0], [0.4, -0.3, 2.0], [0.4, 0.4, 2.0]]), np.array([[0, 2, 1]])
    uv = np.array([[[-1.0, 2.0], [2.0, -1.0], [2.0, 2.0]]], dtype=np.float32)
    texture = np.random.default_rng(0).uniform(0, 255, (5, 7, 3)).astype(np.float32)
    seen = render(points, faces, CAMERA, SIZE)
    colours = texture_colours(seen, uv, texture)
    assert colours.min() >= texture.min() - 1e-3 and colours.max() <= texture.max() + 1e-3


def test_supersampling_keeps_the_view_and_softens_edges():
    vertices, faces = sphere()
    background = np.full((*SIZE, 3), 40, dtype=np.uint8)
    plain = render(vertices, faces, CAMERA, SIZE)
    hard = composite(plain, np.full((len(plain.pixel), 3), 200.0), background)
    size = SIZE[0] * 3, SIZE[1] * 3
    fine = render(vertices, faces, window(CAMERA, (0, 0), SIZE, size), size)
    soft = composite(fine, np.full((len(fine.pixel), 3), 200.0), background)
    assert set(np.unique(hard)) == {40, 200}
    edge = (soft > 40) & (soft < 200)
    assert edge.any() and (soft[~edge] == hard[~edge]).all()
    assert abs(int(soft.sum()) - int(hard.sum())) < 0.01 * hard.sum()


def test_a_window_shows_its_part_of_the_image():
    vertices, faces = sphere()
    whole = render(vertices, faces, CAMERA, SIZE)
    part = render(vertices, faces, window(CAMERA, (60, 20), (50, 40), (50, 40)), (50, 40))
    assert part.mask.any() and (part.face_index == whole.face_index[20:70, 60:100]).mean() > 0.999  # but for rounding


def test_brightness_follows_the_angle_to_the_light():
    normal = np.array([[0, 0, -1], [0, -1, 0], [0, 0, 1]], dtype=np.float32)
    light = diffuse(normal, np.array([0.0, -2.0, 0.0]), ambient=0.3)
    assert light[:, 0] == pytest.approx([0.3, 1.0, 0.3])
