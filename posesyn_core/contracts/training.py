"""How an estimator is trained: the rule of its updates, and what its authors chose."""

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class UpdateRule:
    """How AdamW changes the weights; the fields are keys of ``[finetune]``.

    ``decay``: "steps" lets the learning rate fall to a tenth at each of ``milestones``, shares of the training.
    ``warm_up`` is the share of the training in which it rises linearly, ``betas`` are Adam's. Gradients are clipped to
    the norm ``max_gradient`` (0 = not at all), ``clip``: of all together, or of each tensor. ``mode``: "train" has the
    network in its training mode, BatchNorm, dropout and drop path alive; "frozen" as it is at inference.
    """

    learning_rate: float
    decay: Literal["cosine", "constant", "steps"] = "cosine"
    weight_decay: float = 0.0
    milestones: tuple[float, ...] = ()
    warm_up: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    max_gradient: float = 10.0
    clip: Literal["all", "each"] = "all"
    mode: Literal["train", "frozen"] = "frozen"


@frozen(kw_only=True)
class TrainingDefaults(UpdateRule):
    """How an estimator is fine-tuned where the recipe's ``[finetune]`` leaves a key unset.

    How long: either ``steps`` or ``epochs``, passes through all training frames; None = not said. The values of an
    estimator are its authors' or those of the paper that fine-tunes it; the ones here are for estimators that say
    nothing.
    """

    learning_rate: float = 1e-4
    batch_size: int = 32
    steps: int | None = None
    epochs: int | None = None
