"""Joints by the names that files give them: which registered joint set they are of, and in which order they stand."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from posesyn_core.errors import UserError
from posesyn_core.geometry.skeletons import JOINT_SETS, JointSet, joint_set

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=\b[LR])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}


@frozen(eq=False)
class Naming:
    """What the joints in a file are: J of the joint set ``joints``, of which joint k stands at ``places[k]`` in the
    file, or nowhere (-1). The file names ``count`` joints, of which the set has not those ``left_out``.
    """

    joints: JointSet
    places: NDArray[np.intp]
    count: int
    left_out: tuple[str, ...] = ()

    @property
    def least(self) -> int:
        """How many rows of the file must be there: without the last ones if the set has none of them (Human-Art names
        21 joints and lists 17)."""
        return int(self.places.max()) + 1 if self.left_out else self.count

    def take(self, rows: NDArray) -> NDArray:
        """Rows (least to count, ...) of the file in the set's order (J, ...); 0 for a joint that the file lacks."""
        taken = rows[self.places]
        taken[self.places < 0] = 0
        return taken


def plain(name: str) -> str:
    """A joint's name as joint sets spell it: "LShoulder", "l-shoulder" and "Shoulder L" are "left_shoulder"."""
    words = [word for word in _OTHER.sub("_", _CAMEL.sub("_", name.strip()).lower()).split("_") if word]
    for at in (0, -1):
        if len(words) > 1 and words[at] in _SIDES:
            side = _SIDES[words.pop(at)]
            return "_".join([side, *words])
    return "_".join(words)


def naming(names: Sequence[str], preferred: str, *, wanted: str = "") -> Naming:
    """The set that joints of these names are of.

    It is ``wanted`` if given, else ``preferred`` if it has all of them, else the set that has them and no others, else
    the smallest that has all of them. Names that no set has beside the others are left out, if what remains is the
    whole of the set that knows most of them.

    UserError if there is none, or if the smallest would be a guess: sets that have all of the names, but mean different
    points of the body by them.
    """
    if wanted:
        one = joint_set(wanted)
        places = _places(one, names)
        found = Naming(one, places, len(names)) if places is not None else _whole(one, names)
        if found is None:
            unknown = _unknown(one, names)
            fault = f"the joints {unknown} are none of" if unknown else f"joints are named twice among {[*names]}, of"
            raise UserError(f"{fault} the joint set {wanted!r}")
        return found
    fitting = {known.name: places for known in JOINT_SETS.values() if (places := _places(known, names)) is not None}
    if not fitting:
        return _within(names)
    exact = [name for name in fitting if len(joint_set(name)) == len(names)]
    if preferred in fitting:
        chosen = preferred
    elif exact:
        chosen = exact[0]
    else:
        chosen = min(fitting, key=lambda name: len(joint_set(name)))
        meant = {name: _points(joint_set(name), places) for name, places in fitting.items()}
        if len(set(meant.values())) > 1:
            raise UserError(
                f"the joints {', '.join(map(str, names))} may be those of {' or '.join(fitting)}, which mean different "
                "points by them: say which with the option joint_set"
            )
    return Naming(joint_set(chosen), fitting[chosen], len(names))


def _whole(one: JointSet, names: Sequence[str]) -> Naming | None:
    """The set, all of whose joints are among the names, which others are beside; None if one is missing or twice."""
    unknown = _unknown(one, names)
    kept = [at for at, name in enumerate(names) if name not in unknown]
    places = _places(one, [names[at] for at in kept])
    if len(kept) != len(one) or places is None:
        return None
    return Naming(one, np.array(kept)[places], len(names), tuple(unknown))


def _within(names: Sequence[str]) -> Naming:
    """The set that knows most of the names; UserError if it has other joints, too."""
    near = min(JOINT_SETS.values(), key=lambda one: (len(_unknown(one, names)), len(one)))
    found = _whole(near, names)
    if found is None:
        raise UserError(
            f"the file has joints of no known joint set: {', '.join(map(str, names))}; the nearest set, {near.name!r}, "
            f"lacks {', '.join(_unknown(near, names))} (known sets: {', '.join(JOINT_SETS)})"
        )
    return found


def unnamed(name: str) -> Naming:
    """That of a file without names: all joints of the set, in its order."""
    joints = joint_set(name)
    return Naming(joints, np.arange(len(joints)), len(joints))


def _spellings(joints: JointSet) -> Mapping[str, int]:
    """Where a joint stands in the set, by all the names that it may have in a file."""
    aliases = {name: joints.joints.index(joint) for name, joint in joints.aliases.items()}
    return aliases | {joint: at for at, joint in enumerate(joints.joints)}


def _places(joints: JointSet, names: Sequence[str]) -> NDArray[np.intp] | None:
    """(J,) where each joint of the set is among the names, -1 = nowhere; None if a name is not of the set, or twice."""
    spellings = _spellings(joints)
    found = [spellings.get(plain(str(name)), -1) for name in names]
    if -1 in found or len(set(found)) < len(found):
        return None
    places = np.full(len(joints), -1)
    places[found] = np.arange(len(found))
    return places


def _points(joints: JointSet, places: NDArray[np.intp]) -> tuple[str, ...]:
    """The points of the body that the file's joints are, in its order."""
    known = np.flatnonzero(places >= 0)
    return tuple(joints.points[at] for at in known[np.argsort(places[known])])


def _unknown(joints: JointSet, names: Sequence[str]) -> list[str]:
    spellings = _spellings(joints)
    return [str(name) for name in names if plain(str(name)) not in spellings]
