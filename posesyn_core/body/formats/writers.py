"""How one movement is written, by the format's name, which is the file's suffix too."""

from collections.abc import Callable, Mapping

from posesyn_core.body.formats.amass import amass
from posesyn_core.body.formats.bvh import bvh
from posesyn_core.body.formats.gltf import glb
from posesyn_core.body.formats.movement import Movement
from posesyn_core.body.model import Body

WRITERS: Mapping[str, Callable[[Body, Movement], bytes | str]] = {
    "bvh": bvh,
    "glb": lambda body, movement: glb(body, [movement]),
    "npz": amass,
}
