"""Options of the animator ``file``."""

from attrs import field, frozen

from posesyn_core import option


@frozen
class FileConfig:
    """Options of the animator ``file``; the folder's layout is described in ``posesyn_files.animator``."""

    folder: str = option("animations", "where clips are handed over: one folder per clip")
    guidance: tuple[str, ...] = field(
        default=("depth", "normal", "semantic_map", "dwpose"),
        converter=tuple,
        metadata={"doc": "the maps of the body that are written: depth, normal, semantic_map, dwpose; [] = none"},
    )
    command: str = option(
        "",
        "a program to start for each clip, which is given the clip's folder as its last argument; '' = none",
        program=True,
    )
    timeout: float = option(3600.0, "seconds that the program may take for one clip", above=0, most=1e6)
    body: str = option("", "the SMPL file (.npz or official .pkl) of the plan's bodies; empty = the free body")
