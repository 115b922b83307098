"""glTF 2.0 in one binary file (.glb): the skinned body once, and every movement as an animation of its joints.

Metres, y up, times in seconds (Khronos, glTF 2.0 specification, sections 3.5, 3.7, 3.11 and 4.4). A vertex follows the
four joints that it follows most; of the free body's none moves by more than 5 % of others. SMPL's pose blend shapes
have no place in a skin that programs share: elbows and knees bend a little less fully than SMPL's own.

A file holds the template and the skinning weights of the body: where that is SMPL's, so is the file's licence.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import Factory, define
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posesyn_core.body.formats.movement import Movement, rest_joints, rest_surface
from posesyn_core.body.model import Body
from posesyn_core.body.render import vertex_normals
from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import SMPL24
from posesyn_core.values import FloatArray

FLOAT, BYTE, INT = 5126, 5121, 5125
"""The specification's names of float32, uint8 and uint32."""
OF_TYPE = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): BYTE, np.dtype(np.uint32): INT}
VERTICES, INDICES = 34962, 34963
"""What a buffer view is for."""
MAGIC, VERSION, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
INFLUENCES = 4
SKIN = {"name": "skin", "pbrMetallicRoughness": {"baseColorFactor": [0.68, 0.76, 0.88, 1], "metallicFactor": 0,
                                                 "roughnessFactor": 0.8}}  # fmt: skip
SAME_SHAPE = 1e-6


def glb(body: Body, movements: Sequence[Movement]) -> bytes:
    """The body with all ``movements``, at rest in the first frame of the first one.

    UserError if there is none, or their shapes differ: a file has one body.
    """
    if not movements or any(np.abs(one.betas - movements[0].betas).max() > SAME_SHAPE for one in movements):
        raise UserError("a .glb holds one body with one movement at least: write each shape into a file of its own")
    rest = rest_joints(body, movements[0].betas)
    document = _Document()
    joints = _joint_nodes(rest, movements[0], body)
    document.content |= {
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [{"name": "body", "mesh": 0, "skin": 0}, *joints],
        "meshes": [{"name": "body", "primitives": [_surface(document, body, movements[0].betas)]}],
        "materials": [SKIN],
        "skins": [_skin(document, rest)],
    }
    animations = [_animation(document, body, one) for one in movements if len(one.transl) > 1]
    if animations:
        document.content["animations"] = animations
    return document.packed()


def _joint_nodes(rest: FloatArray, first: Movement, body: Body) -> list[dict[str, Any]]:
    """A node for each joint (from node 1 on), posed as in the first frame."""
    places = np.concatenate([first.roots(body)[:1], rest[1:] - rest[list(SMPL24.parents[1:])]])
    turns = Rotation.from_rotvec(np.concatenate([first.global_orient[:1], first.body_pose[0]])).as_quat()
    nodes = []
    for joint, name in enumerate(SMPL24.joints):
        children = [child + 1 for child, parent in enumerate(SMPL24.parents) if parent == joint]
        node = {"name": name, "translation": places[joint].tolist(), "rotation": turns[joint].tolist()}
        nodes.append(node | ({"children": children} if children else {}))
    return nodes


def _surface(document: "_Document", body: Body, betas: FloatArray) -> dict[str, Any]:
    surface, faces = rest_surface(body, betas), body.faces.cpu().numpy()
    joints, weights = _influences(body.weights.cpu().numpy())
    attributes = {
        "POSITION": document.add(surface, "VEC3", VERTICES, bounds=True),
        "NORMAL": document.add(vertex_normals(surface, faces), "VEC3", VERTICES),
        "JOINTS_0": document.add(joints, "VEC4", VERTICES),
        "WEIGHTS_0": document.add(weights, "VEC4", VERTICES),
    }
    indices = document.add(faces.astype(np.uint32).reshape(-1), "SCALAR", INDICES)
    return {"attributes": attributes, "indices": indices, "material": 0}


def _influences(weights: FloatArray) -> tuple[NDArray[np.uint8], FloatArray]:
    """Of skinning weights (V, 24) the joints (V, 4) that count most, and their weights, which sum to 1."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    most = np.take_along_axis(weights, joints, axis=1)
    most = most / most.sum(axis=1, keepdims=True)
    return np.where(most > 0, joints, 0).astype(np.uint8), most.astype(np.float32)


def _skin(document: "_Document", rest: FloatArray) -> dict[str, Any]:
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(rest), 1, 1))
    inverse[:, 3, :3] = -rest  # matrices are stored column by column
    nodes = list(range(1, len(rest) + 1))
    return {"joints": nodes, "skeleton": 1, "inverseBindMatrices": document.add(inverse.reshape(-1, 16), "MAT4")}


def _animation(document: "_Document", body: Body, movement: Movement) -> dict[str, Any]:
    """The pelvis' way, and the rotations of all joints."""
    times = (np.arange(len(movement.transl)) / movement.fps).astype(np.float32)
    clock = document.add(times, "SCALAR", bounds=True)
    rotations = np.concatenate([movement.global_orient[:, None], movement.body_pose], axis=1)
    turns = _continuous(Rotation.from_rotvec(rotations.reshape(-1, 3)).as_quat().reshape(*rotations.shape[:2], 4))
    outputs = [(1, "translation", document.add(movement.roots(body), "VEC3"))]
    outputs += [(joint + 1, "rotation", document.add(turns[:, joint], "VEC4")) for joint in range(turns.shape[1])]
    return {
        "name": movement.name,
        "samplers": [{"input": clock, "output": output, "interpolation": "LINEAR"} for _, _, output in outputs],
        "channels": [
            {"sampler": at, "target": {"node": node, "path": path}} for at, (node, path, _) in enumerate(outputs)
        ],
        "extras": {"fps": movement.fps},
    }


def _continuous(turns: NDArray[np.floating]) -> FloatArray:
    """Quaternions (L, J, 4) with the sign that is nearest to the frame before: programs blend between them."""
    apart = np.sum(turns[1:] * turns[:-1], axis=-1, keepdims=True) < 0
    signs = np.cumprod(np.concatenate([np.ones_like(turns[:1, :, :1]), np.where(apart, -1.0, 1.0)]), axis=0)
    return (turns * signs).astype(np.float32)


@define
class _Document:
    """A glTF document in the making, with its buffer."""

    content: dict[str, Any] = Factory(
        lambda: {"asset": {"version": "2.0", "generator": "PoseSyn"}, "accessors": [], "bufferViews": []}
    )
    buffer: bytearray = Factory(bytearray)

    def add(self, values: NDArray[Any], kind: str, target: int | None = None, *, bounds: bool = False) -> int:
        """Put an array into the buffer; return the number of its accessor."""
        values = np.ascontiguousarray(values, np.float32 if values.dtype.kind == "f" else values.dtype)
        view = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": values.nbytes}
        self.content["bufferViews"].append(view | ({} if target is None else {"target": target}))
        self.buffer += values.tobytes()
        self.buffer += bytes(-len(self.buffer) % 4)
        accessor = {
            "bufferView": len(self.content["bufferViews"]) - 1,
            "componentType": OF_TYPE[values.dtype],
            "count": len(values),
            "type": kind,
        }
        if bounds:
            flat = values.reshape(len(values), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.content["accessors"].append(accessor)
        return len(self.content["accessors"]) - 1

    def packed(self) -> bytes:
        """The file: a header, the description, and the buffer."""
        text = json.dumps(self.content | {"buffers": [{"byteLength": len(self.buffer)}]}).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
        chunks += struct.pack("<II", len(self.buffer), BINARY_CHUNK) + bytes(self.buffer)
        return struct.pack("<III", MAGIC, VERSION, 12 + len(chunks)) + chunks
