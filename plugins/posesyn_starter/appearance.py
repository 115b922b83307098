"""What a rendered person wears and looks like: garments as functions of the place on the body in its rest pose.

Nothing is stored as a texture: each visible point's rest-pose position says whether it is sleeve, trouser leg or
face, and which stripe of a pattern it lies on. Drawing the same body with another :class:`Look` is another person.
"""

from enum import IntEnum

import cv2
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.body.model import Body
from posesyn_core.body.parts import PART_NAMES
from posesyn_core.values import FloatArray


class Layer(IntEnum):
    """What covers a point of the body."""

    SKIN, HAIR, SHIRT, TROUSERS, SOCKS, SHOES = range(6)


@frozen(eq=False)
class Figure:
    """A body's surface as numpy arrays: faces (F, 3); ``rest`` (V, 3) and ``joints`` (24, 3) of the T-pose in metres;
    part labels of the faces ``face_part`` (F,) and of the vertices ``vertex_part`` (V,)."""

    faces: NDArray[np.int32]
    rest: FloatArray
    joints: FloatArray
    face_part: NDArray[np.uint8]
    vertex_part: NDArray[np.uint8]

    @classmethod
    def of(cls, body: Body) -> "Figure":
        faces = body.faces.numpy().astype(np.int32)
        face_part = body.part_labels.numpy()
        vertex_part = np.zeros(len(body.v_template), np.uint8)
        vertex_part[faces] = face_part[:, None]
        joints = body.rest_joints(torch.zeros(1, 10))[0].numpy()
        return cls(faces, body.v_template.numpy(), joints, face_part, vertex_part)


@frozen(eq=False)
class Look:
    """One person's outfit. Lengths are in metres of the rest pose.

    sleeve: |x| where sleeves end; waist, hem, sock, shoe: heights y where shirt and trousers meet, where trouser legs
    end, and to where socks and shoes reach; colours (layer, 2, 3): two per layer, 0..255; pattern (layer,): see
    ``_patterned``; scale: width of a pattern's repeat; looseness (layer,): how far the layer stands off the body;
    logo: centre x, y, half width, half height on the chest (size 0 = none); folds: wave vectors (4, 3) and ``phases``
    (4,) of the cloth's folds.
    """

    sleeve: float
    waist: float
    hem: float
    sock: float
    shoe: float
    beard: bool
    colours: FloatArray
    pattern: NDArray[np.int64]
    scale: float
    looseness: FloatArray
    logo: NDArray[np.float64]
    folds: FloatArray
    phases: FloatArray


SKIN_TONES = np.array(
    [[244, 208, 177], [231, 180, 143], [210, 153, 108], [180, 120, 80], [141, 85, 54], [96, 57, 38], [70, 43, 31]]
)
SHIRT_TO_SOCKS_PATTERNS = ([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 1, 3, 5], [0, 1])
HAIR_TONES = np.array([[25, 20, 18], [60, 40, 25], [105, 70, 40], [170, 125, 70], [215, 185, 130], [150, 150, 150]])

_HEAD, _SCALP, _TORSO, _HIPS = (PART_NAMES.index(name) for name in ("head", "scalp", "torso", "hips"))
_ARM, _LEG, _FOOT = (
    np.array([any(word in name for word in words) for name in PART_NAMES]) for words in (("arm",), ("leg",), ("foot",))
)


def draw_look(figure: Figure, rng: np.random.Generator) -> Look:
    """A random outfit for a figure."""
    joints = figure.joints
    pelvis, knee, ankle = joints[0, 1], joints[4, 1], joints[7, 1]
    shoulder, elbow, wrist = joints[16, 0], joints[18, 0], joints[20, 0]
    sleeve = rng.choice([shoulder + 0.03, (shoulder + elbow) / 2 + 0.03, elbow - 0.02, wrist, wrist])
    hem = rng.choice([(pelvis + knee) / 2 - 0.05, knee + 0.05, (knee + ankle) / 2, ankle + 0.03, ankle, ankle])
    return Look(
        sleeve=float(sleeve + rng.normal(0, 0.02)),
        waist=float(pelvis + rng.uniform(-0.10, 0.08)),
        hem=float(hem + rng.normal(0, 0.02)),
        sock=float(ankle + rng.choice([-0.1, 0.03, 0.1, 0.3])),
        shoe=float(ankle + rng.choice([-0.2, 0.0, 0.0, 0.03, 0.12])),
        beard=bool(rng.random() < 0.2),
        colours=_draw_colours(rng),
        pattern=np.array([0, 0, *(rng.choice(kinds) for kinds in SHIRT_TO_SOCKS_PATTERNS), 0]),
        scale=float(rng.uniform(0.03, 0.16)),
        looseness=(np.array([0, 0.03, 0.028, 0.03, 0.006, 0.012]) * rng.random(6)).astype(np.float32),
        logo=np.array([0, joints[9, 1], 0, 0]) + rng.uniform(-0.08, [0.08, 0.08, 0.13, 0.13]),
        folds=rng.normal(0, 28, (4, 3)).astype(np.float32),
        phases=rng.uniform(0, 6.28, 4).astype(np.float32),
    )


def _draw_colours(rng: np.random.Generator) -> FloatArray:
    """Two colours per layer, (6, 2, 3); skin and hair in natural tones, now and then a coloured cap."""
    hsv = np.stack([rng.uniform(0, 180, 12), 255 * rng.beta(1, 1.3, 12), rng.uniform(15, 245, 12)], axis=-1)
    colours = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB).reshape(6, 2, 3).astype(np.float32)
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = SKIN_TONES[int(tone)] * (1 - tone % 1) + SKIN_TONES[int(tone) + 1] * (tone % 1)
    colours[Layer.SKIN] = skin + rng.normal(0, 6, 3)
    if rng.random() < 0.75:
        colours[Layer.HAIR] = HAIR_TONES[rng.integers(len(HAIR_TONES))] + rng.normal(0, 8, 3)
    if rng.random() < 0.15:  # a suit, overall or dress of one cloth
        colours[Layer.TROUSERS] = colours[Layer.SHIRT]
    if rng.random() < 0.07:
        colours[Layer.SHIRT] = colours[Layer.SKIN]
    return np.clip(colours, 0, 255)


def layers(look: Look, rest: FloatArray, part: NDArray) -> NDArray[np.uint8]:
    """What covers N points of the body: :class:`Layer` (N,) from rest positions (N, 3) and part labels (N,)."""
    side, height = np.abs(rest[:, 0]), rest[:, 1]
    layer = np.full(len(rest), Layer.SKIN, dtype=np.uint8)
    trunk = (part == _TORSO) | (part == _HIPS)
    layer[(trunk | _ARM[part]) & (side < look.sleeve) & (height >= look.waist)] = Layer.SHIRT
    layer[(trunk | _LEG[part]) & (height < look.waist) & (height > look.hem)] = Layer.TROUSERS
    below_knee = (_LEG[part] | _FOOT[part]) & (layer == Layer.SKIN)
    layer[below_knee & (height < look.sock)] = Layer.SOCKS
    layer[_FOOT[part] & (height < look.shoe) | below_knee & (height < look.shoe)] = Layer.SHOES
    layer[part == _SCALP] = Layer.HAIR
    return layer


def dress(look: Look, figure: Figure, vertices: FloatArray, normals: FloatArray) -> FloatArray:
    """The surface (V, 3) with its clothes on: every layer stands off the posed body by its looseness."""
    return vertices + normals * look.looseness[layers(look, figure.rest, figure.vertex_part)][:, None]


def paint(look: Look, figure: Figure, rest: FloatArray, part: NDArray) -> FloatArray:
    """Colours (P, 3) in 0..255, before lighting, of points with rest positions (P, 3) and part labels (P,)."""
    layer = layers(look, rest, part)
    first, second = look.colours[layer].transpose(1, 0, 2)
    share = _patterned(look, rest, part, look.pattern[layer])
    x, y, width, height = look.logo
    logo = (np.abs(rest[:, 0] - x) < width) & (np.abs(rest[:, 1] - y) < height) & (rest[:, 2] > figure.joints[9, 2])
    share[logo & (layer == Layer.SHIRT)] = 1
    colours = first + (second - first) * share[:, None]
    cloth = np.sin(rest @ look.folds.T + look.phases).sum(axis=1) * np.where(layer == Layer.SKIN, 0.008, 0.035)
    _draw_face(look, figure, rest, part, colours)
    return colours * (1 + cloth)[:, None]


def _patterned(look: Look, rest: FloatArray, part: NDArray, pattern: NDArray) -> FloatArray:
    """Share (P,) of a layer's second colour: 0 plain, 1 hoops, 2 stripes, 3 checks, 4 dots, 5 blotches, 6 thin
    hoops, 7 another left half."""
    arm = _ARM[part]
    along = np.where(arm, np.abs(rest[:, 0]), rest[:, 1]) / look.scale
    across = np.where(arm, rest[:, 1], rest[:, 0]) / look.scale
    share = np.zeros(len(rest), np.float32)
    for kind in np.unique(pattern[pattern > 0]):
        at = np.flatnonzero(pattern == kind)
        share[at] = _pattern(kind, along[at] % 1, across[at] % 1, rest[at], look)
    return share


def _pattern(kind: int, along: NDArray, across: NDArray, rest: FloatArray, look: Look) -> NDArray[np.bool_]:
    """Where points lie in a repeat of the pattern, 0..1 along and across the limb -> is it the second colour?"""
    hoops, stripes = along < 0.5, across < 0.5
    match kind:
        case 1:
            return hoops
        case 2:
            return stripes
        case 3:
            return hoops ^ stripes
        case 4:
            return (along - 0.5) ** 2 + (across - 0.5) ** 2 < 0.1
        case 5:
            return np.sin(rest @ look.folds[:3].T * 0.9 + look.phases[:3]).sum(axis=1) > 0.4
        case 6:
            return along < 0.2
    return rest[:, 0] > 0


def _draw_face(look: Look, figure: Figure, rest: FloatArray, part: NDArray, colours: FloatArray) -> None:
    """Eyes, brows, mouth and perhaps a beard, placed by the head joint's rest position; changes ``colours``."""
    seen = np.flatnonzero((part == _HEAD) & (rest[:, 2] > figure.joints[15, 2] + 0.04))
    side = np.abs(rest[seen, 0])
    up = rest[seen, 1] - figure.joints[15, 1]
    skin, hair = look.colours[Layer.SKIN, 0], look.colours[Layer.HAIR, 0]
    if look.beard:
        colours[seen[(up < -0.012) & (rest[seen, 2] > figure.joints[15, 2] + 0.05)]] = hair * 0.8 + skin * 0.2
    colours[seen[(side < 0.024) & (np.abs(up + 0.03) < 0.007)]] = skin * [0.75, 0.45, 0.45]
    colours[seen[(np.abs(side - 0.03) < 0.02) & (np.abs(up - 0.055) < 0.006)]] = hair * 0.7
    eye = (np.abs(side - 0.03) < 0.016) & (np.abs(up - 0.033) < 0.010)
    colours[seen[eye]] = [225, 225, 225]
    colours[seen[eye & (np.abs(side - 0.03) < 0.008)]] = [40, 30, 25]
