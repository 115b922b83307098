"""Options of what this plugin brings; nothing heavy is imported here."""

import os
from pathlib import Path
from typing import Literal

from attrs import NOTHING, frozen

from posesyn_core import option

Discriminators = Literal["both", "2d", "3d", "none"]


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
    epochs: int = option(50, "epochs over which the schedule runs (epochs)", least=1, most=1_000_000)
    batch_size: int = option(1024, "poses in a batch (batch_size)", least=2, most=1_000_000)
    warm_up: int = option(2, "first epochs, in which the lifter rests and no feedback counts (warmup)", least=0)
    discriminate_every: int = option(2, "generator steps to one of the discriminators (df)", least=1)
    learning_rate: float = option(1e-4, "of the generator and the discriminators (lr_g, lr_d)", above=0, most=10)
    precision: Literal["fp32", "bf16"] = option(
        "fp32", "in which the lifter's layers compute when it is trained with PoseAug; norms and losses stay in fp32"
    )
    max_gradient: float = option(1.0, "the gradients of each of these are clipped to this norm", above=0)
    ba_ratio: tuple[float, float] = option(
        (3.0, 5.0), "how much harder bent poses shall be, from and to (hardratio_ba_s, hardratio_ba)", least=0
    )
    ba_tolerance: float = option(2.0, "and how far they may be off (hardratio_std_ba)", least=0)
    ba_weight: float = option(0.1, "weight of that (gloss_factorfeedback_ba)", least=0)
    ba_diversity: float = option(0.0, "weight of the ratios' spread (gloss_factordiv_ba)", least=0)
    rt_ratio: tuple[float, float] = option(
        (17.0, 17.0), "the same for placed poses (hardratio_rt_s, hardratio_rt)", least=0
    )
    rt_tolerance: float = option(15.0, "and how far they may be off (hardratio_std_rt)", least=0)
    rt_weight: float = option(0.01, "weight of that (gloss_factorfeedback_rt)", least=0)
    rt_diversity: float = option(0.0, "weight of the ratios' spread (gloss_factordiv_rt)", least=0)
    beta: float = option(4.0, "with feedback = 'exponential': how much harder than the original (Eq. 9)", above=1)
    angle_change: float = option(0.205, "wanted mean of 1 - cos of the bones' turns (ba_range_m)", least=0, most=2)
    angle_tolerance: float = option(0.165, "and how far it may be off (ba_range_w)", least=0)
    largest_length_ratio: float = option(
        0.2, "BL changes lengths by at most this share (blr_tanhlimit)", above=0, below=1
    )
    length_limit: float = option(0.1, "changes of lengths up to this share cost nothing (blr_limit)", least=0)
    weight_2d: float = option(1.0, "weight of the 2D discriminator's score (gloss_factord2d)", least=0)
    weight_3d: float = option(6.0, "weight of the 3D discriminator's score (gloss_factord3d)", least=0)
    weight_change: float = option(3.0, "weight of the limits on angles and lengths (gloss_factordiff)", least=0)
    own_epochs: int = option(
        0, "experiments: epochs of the lifter's own training before PoseAug's; 0 = as published", least=0
    )
    lifter_rate: float = option(
        0.0, "experiments: the lifter's learning rate with PoseAug; 0 = as published (lr_p)", least=0, most=10
    )
    figures: Literal["repository", "paper"] = option(
        "repository", "experiments, Table 4: whose figures stand beside ours, the released code's or the printed ones"
    )
    pool: int = option(4096, "fake poses that each discriminator is shown again", least=1, most=10_000_000)

    @property
    def operations(self) -> frozenset[str]:
        """Those of "ba", "bl", "rt" that act."""
        chosen = {"ba": self.bone_angles, "bl": self.bone_lengths, "rt": self.rigid}
        return frozenset(name for name, on in chosen.items() if on)


@frozen
class LifterConfig:
    """Options of the lifters."""

    weights: str = option(
        "random",
        "'starter' (videopose alone: small, trained on recorded motions, in SMPL's points), 'random' (small and "
        "untrained), 'random-full' (untrained at the published size), or a file: PoseAug's or the baselines' "
        "ckpt_best*.pth.tar, or a .safetensors written here",
    )
    width: int = option(
        0, "width of an untrained network's layers; 0 = as 'random' or 'random-full' say", least=0, most=1 << 14
    )
    flip: bool = option(False, "average with the answer for the mirrored pose (officially on 3DHP alone)")
    dropout: float | None = option(
        None, "share of the values dropped in training; unset = as published", least=0, below=1
    )
    joints: Literal["", "h36m16", "smpl16"] = option(
        "",
        "in which joints it answers: Human3.6M's, or SMPL's in their places (for weights that are trained on bodies or "
        "motions); empty = as the weights say, else Human3.6M's",
    )
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")


@frozen
class MocapConfig:
    """Recorded motions before virtual cameras."""

    motions: str = option(
        NOTHING,
        "npz of motions (joints, offsets, names, clip, domain), 22 joints, y up; or its name in $POSESYN_MOTIONS",
    )
    domain: Literal["", "lab", "wild"] = option("", "use only the motions of this domain; empty = all")
    views: Literal["lab", "wild"] = option("lab", "a studio's actors and cameras, or anybody seen from anywhere")
    cameras: int = option(4, "cameras that see every frame", least=1, most=64)
    stride: int = option(1, "use every n-th frame of a motion", least=1)
    noise: float = option(
        0.0, "standard deviation of the 2D joints' error, pixels of 1000, as by a detector", least=0, most=1_000
    )
    seed: int = option(0, "seed of people and cameras", least=0, any_size=True)


@frozen
class H36mPosesConfig:
    """Human3.6M in the files of VideoPose3D: data_3d_h36m.npz and data_2d_h36m_<keypoints>.npz."""

    root: Path = option(NOTHING, "folder with both files")
    keypoints: str = option("gt", "whose 2D: gt, cpn_ft_h36m_dbb, detectron_ft_h36m, hr")
    subjects: tuple[str, ...] = option(("S9", "S11"), "of them: S1, S5, S6, S7, S8 (training), S9, S11 (test)")
    actions: tuple[str, ...] = option((), "only these actions, without the number of the take; empty = all")
    stride: int = option(1, "read every n-th pose", least=1)


@frozen
class PosesConfig:
    """A test set in one npz: PoseAug's test_3dhp.npz (pose3d, pose2d), or SPIN's mpi_inf_3dhp_valid.npz."""

    file: Path = option(NOTHING, "the npz file")
    flip: bool = option(
        True, "experiments: average a lifter's answer with that for the mirrored pose, as officially on 3DHP"
    )
    stride: int = option(1, "read every n-th pose", least=1)


def motions_file(name: str) -> Path:
    """The file of motions: a path, or a name in the folder $POSESYN_MOTIONS."""
    path, folder = Path(name).expanduser(), os.environ.get("POSESYN_MOTIONS", "")
    return path if path.exists() or not folder else Path(folder) / name
