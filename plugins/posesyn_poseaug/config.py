"""Options of what this plugin brings; nothing heavy is imported here."""

from typing import Literal

from attrs import field, frozen, validators

from posesyn_core.components import option

Discriminators = Literal["both", "2d", "3d", "none"]


def _positive(default: float, doc: str) -> float:
    value: float = field(default=default, validator=validators.gt(0), metadata={"doc": doc})
    return value


@frozen
class PoseAugConfig:
    """How PoseAug augments; the defaults are those of the official training command. Names in brackets are its own."""

    bone_angles: bool = option(True, "BA: bend bones")
    bone_lengths: bool = option(True, "BL: change bone lengths")
    rigid: bool = option(True, "RT: turn the body and place it anew")
    feedback: Literal["ratio", "exponential", "none"] = option(
        "ratio", "the lifter's error as feedback: 'ratio' as in the repository, 'exponential' as in the paper's Eq. 9"
    )
    discriminators: Discriminators = option("both", "which judge the poses (Table 6)")
    kcs: Literal["parts", "whole"] = option("parts", "what the 3D one sees: part-aware or plain KCS (Table 7)")
    regulariser: Literal["entry", "mean"] = option(
        "entry", "which length changes cost: each above the limit (the repository), or all where their mean is (Eq. 10)"
    )
    templates: str = option(
        "", "the table of bone lengths, hm36s15678_bl_templates.npy; empty = the training subjects' own"
    )
    swap_lengths: bool = option(True, "give every training pose the lengths of a random template at each epoch")
    epochs: int = option(50, "epochs over which the schedule runs (epochs)")
    batch_size: int = option(1024, "poses in a batch (batch_size)")
    warm_up: int = option(2, "first epochs, in which the lifter rests and no feedback counts (warmup)")
    discriminate_every: int = option(2, "generator steps to one of the discriminators (df)")
    learning_rate: float = _positive(1e-4, "of the generator and the discriminators (lr_g, lr_d)")
    lifter_rate: float = _positive(1e-4, "of the lifter; SemGCN's was 1e-3 (lr_p)")
    max_gradient: float = _positive(1.0, "each network's gradients are clipped to this norm")
    ba_ratio: tuple[float, float] = option(
        (3.0, 5.0), "how much harder bent poses shall be, from and to (hardratio_ba)"
    )
    ba_tolerance: float = option(2.0, "and how far they may be off (hardratio_std_ba)")
    ba_weight: float = option(0.1, "weight of that (gloss_factorfeedback_ba)")
    ba_diversity: float = option(0.0, "weight of the ratios' spread (gloss_factordiv_ba)")
    rt_ratio: tuple[float, float] = option((17.0, 17.0), "the same for placed poses (hardratio_rt)")
    rt_tolerance: float = option(15.0, "and how far they may be off (hardratio_std_rt)")
    rt_weight: float = option(0.01, "weight of that (gloss_factorfeedback_rt)")
    rt_diversity: float = option(0.0, "weight of the ratios' spread (gloss_factordiv_rt)")
    beta: float = option(4.0, "with feedback = 'exponential': how much harder than the original (Eq. 9)")
    angle_change: float = option(0.205, "wanted mean of 1 - cos of the bones' turns (ba_range_m)")
    angle_tolerance: float = option(0.165, "and how far it may be off (ba_range_w)")
    largest_length_ratio: float = _positive(0.2, "BL changes lengths by at most this share (blr_tanhlimit)")
    length_limit: float = option(0.1, "changes of lengths up to this share cost nothing (blr_limit)")
    weight_2d: float = option(1.0, "weight of the 2D discriminator's score (gloss_factord2d)")
    weight_3d: float = option(6.0, "weight of the 3D discriminator's score (gloss_factord3d)")
    weight_change: float = option(3.0, "weight of the limits on angles and lengths (gloss_factordiff)")
    pool: int = option(4096, "fake poses that each discriminator is shown again")
    seed: int = option(0, "seed of every draw")

    @property
    def operations(self) -> frozenset[str]:
        """Those of "ba", "bl", "rt" that act."""
        chosen = {"ba": self.bone_angles, "bl": self.bone_lengths, "rt": self.rigid}
        return frozenset(name for name, on in chosen.items() if on)
