"""Fewer triangles: hide what nobody sees, then collapse edges onto existing vertices.

Because a collapse keeps one of the two vertices as it is, whatever belongs to a vertex (skinning weights, shape
directions, texture coordinates) is kept by selecting rows. The order of collapses is that of Garland and Heckbert's
quadric error (Surface simplification using quadric error metrics, SIGGRAPH 1997).
"""

import heapq

import numpy as np


def visible_faces(vertices: np.ndarray, faces: np.ndarray, directions: int = 64) -> np.ndarray:
    """(F,) bool: faces (F, 3) of the mesh (V, 3) from whose centre at least one of the random rays gets away."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    normals = _normals(vertices[faces])
    centres = (vertices[faces].mean(1) + 1e-4 * normals).astype(np.float32)
    rng = np.random.default_rng(0)
    visible = np.zeros(len(faces), bool)
    for _ in range(directions):
        rays = rng.normal(size=normals.shape)
        rays *= np.sign((rays * normals).sum(1, keepdims=True))
        visible |= scene.run(centres, rays.astype(np.float32)) < 0
    return visible


def collapse(
    vertices: np.ndarray, faces: np.ndarray, texture_faces: np.ndarray, features: np.ndarray, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges until ``target`` vertices are left; return the remaining faces and texture faces.

    ``vertices`` (V, 3), ``faces`` and ``texture_faces`` (F, 3) indices per corner; vertices with unlike ``features``
    (V, C) (skinning weights) are not merged readily. Vertices on a border or on a texture seam stay.
    """
    mesh = _Mesh(vertices, faces, texture_faces, features)
    left = len(np.unique(faces))
    queue = [entry for v in range(len(vertices)) for entry in mesh.candidates(v)]
    heapq.heapify(queue)
    while left > target and queue:
        cost, gone, kept = heapq.heappop(queue)
        if not mesh.allowed(gone, kept):
            continue
        current = mesh.cost(gone, kept)
        if current > cost * (1 + 1e-9):  # the quadrics have grown since it was queued
            heapq.heappush(queue, (current, gone, kept))
            continue
        touched = mesh.merge(gone, kept)
        left -= 1
        for vertex in touched:
            for entry in mesh.candidates(vertex):
                heapq.heappush(queue, entry)
    return mesh.faces[mesh.alive], mesh.texture_faces[mesh.alive]


class _Mesh:
    """The mesh during the collapses: faces of each vertex, and its quadric (error = [p 1] Q [p 1]^T)."""

    def __init__(
        self, vertices: np.ndarray, faces: np.ndarray, texture_faces: np.ndarray, features: np.ndarray
    ) -> None:
        self.vertices, self.features = vertices, features
        self.faces, self.texture_faces = faces.copy(), texture_faces.copy()
        self.alive = np.ones(len(faces), bool)
        self.faces_of: list[set[int]] = [set() for _ in vertices]
        for index, face in enumerate(faces):
            for vertex in face:
                self.faces_of[vertex].add(index)
        self.quadrics = self._quadrics()
        self.fixed = self._seams() | self._borders()

    def _quadrics(self) -> np.ndarray:
        corners = self.vertices[self.faces]
        normals = _normals(corners)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
        planes = np.concatenate([normals, -(normals * corners[:, 0]).sum(1, keepdims=True)], 1)
        per_face = area[:, None, None] * planes[:, :, None] * planes[:, None]
        quadrics = np.zeros((len(self.vertices), 4, 4))
        np.add.at(quadrics, self.faces.ravel(), np.repeat(per_face, 3, axis=0))
        return quadrics

    def _seams(self) -> np.ndarray:
        pairs = np.unique(np.stack([self.faces.ravel(), self.texture_faces.ravel()], 1), axis=0)
        return np.bincount(pairs[:, 0], minlength=len(self.vertices)) > 1

    def _borders(self) -> np.ndarray:
        edges = np.sort(np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]]), axis=1)
        unique, count = np.unique(edges, axis=0, return_counts=True)
        on_border = np.zeros(len(self.vertices), bool)
        on_border[unique[count != 2].ravel()] = True
        return on_border

    def neighbours(self, vertex: int) -> set[int]:
        return {int(v) for face in self.faces_of[vertex] for v in self.faces[face]} - {vertex}

    def candidates(self, vertex: int) -> list[tuple[float, int, int]]:
        """Queue entries (cost, vertex that goes, neighbour that stays)."""
        if self.fixed[vertex] or not self.faces_of[vertex]:
            return []
        return [(self.cost(vertex, other), vertex, other) for other in sorted(self.neighbours(vertex))]

    def cost(self, gone: int, kept: int) -> float:
        point = np.append(self.vertices[kept], 1.0)
        length2 = ((self.vertices[gone] - self.vertices[kept]) ** 2).sum()
        unlike = ((self.features[gone] - self.features[kept]) ** 2).sum()
        error = point @ (self.quadrics[gone] + self.quadrics[kept]) @ point
        return float(error + length2**2 * (1e-3 + unlike))

    def allowed(self, gone: int, kept: int) -> bool:
        """Whether the edge still exists, the surface stays a manifold, and no face flips or degenerates."""
        if not self.faces_of[gone] & self.faces_of[kept]:
            return False
        if len(self.neighbours(gone) & self.neighbours(kept)) != 2:
            return False
        moved = self.faces[sorted(self.faces_of[gone] - self.faces_of[kept])]
        before = _normals(self.vertices[moved])
        corners = self.vertices[np.where(moved == gone, kept, moved)]
        return bool(((before * _normals(corners)).sum(1) > 0.5).all() and _shapes(corners).min() > 0.08)

    def merge(self, gone: int, kept: int) -> set[int]:
        """Replace ``gone`` by ``kept`` in all faces; return the vertices around."""
        shared = self.faces_of[gone] & self.faces_of[kept]
        some = min(shared)
        texture = self.texture_faces[some, self.faces[some] == kept][0]
        for face in shared:
            self.alive[face] = False
            for vertex in self.faces[face]:
                self.faces_of[vertex].discard(face)
        for face in self.faces_of[gone]:
            corner = self.faces[face] == gone
            self.faces[face, corner] = kept
            self.texture_faces[face, corner] = texture
            self.faces_of[kept].add(face)
        self.faces_of[gone] = set()
        self.quadrics[kept] += self.quadrics[gone]
        return self.neighbours(kept) | {kept}


def _normals(corners: np.ndarray) -> np.ndarray:
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-20)


def _shapes(corners: np.ndarray) -> np.ndarray:
    """How far from a sliver each triangle is: 1 for an equilateral one, 0 for a degenerate one."""
    edges = corners - np.roll(corners, 1, axis=1)
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    return area * 4 * 3**0.5 / np.maximum((edges**2).sum((1, 2)), 1e-20)
