"""Mixup of skeletons: every training pose is blended with another one (Zhang et al., ICLR 2018)."""

from attrs import frozen

from posesyn_core import Component, Kind, hookimpl, option


@frozen
class Config:
    alpha: float = option(0.2, "of the Beta distribution of the shares", above=0)
    batch_size: int = option(64, "poses in a batch", least=2)


class Mixup:
    def __init__(self, config):
        self.config = config

    def epoch(self, number, frames, estimator, seed):
        import numpy as np
        import torch

        rng = np.random.default_rng(seed)
        inputs = [estimator.training_inputs(frame, rng) for frame in frames]
        every = {name: torch.from_numpy(np.stack([item[name] for item in inputs])) for name in inputs[0]}
        for chunk in torch.from_numpy(rng.permutation(len(frames))).split(self.config.batch_size):
            share, other = rng.beta(self.config.alpha, self.config.alpha), rng.permutation(chunk)
            yield {name: share * values[chunk] + (1 - share) * values[other] for name, values in every.items()}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@hookimpl
def register_augmenters():
    return [Component(Kind.AUGMENTER, "mixup", "Blends every pose with another one", Mixup, Config)]
