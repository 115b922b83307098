"""What PoseSyn needs to know of the generator."""

from attrs import NOTHING, frozen

from posesyn_core import Component, Kind, hookimpl, option


@frozen
class Config:
    motions: str = option(NOTHING, "npz of recordings: joints, offsets, texts (see the README)")
    text_weight: float = option(0.1, "metres of pose distance that a perfectly fitting text makes up for", least=0)
    among: int = option(1, "draw among this many best recordings (1 = always the best)", least=1)


def make(config):
    from my_retrieval.retrieval import Retrieval  # numpy's work happens there, not when `posesyn` starts

    return Retrieval(config)


@hookimpl
def register_motion_generators():
    return [
        Component(Kind.MOTION, "retrieval", "Goes on from the most similar moment of real recordings", make, Config)
    ]
