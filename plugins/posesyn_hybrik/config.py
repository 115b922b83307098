"""Options of the estimator, the reader and the writer ``hybrik``."""

from typing import Literal

from attrs import frozen

from posesyn_core import option
from posesyn_core.contracts.options import follow_links


@frozen
class HybrikConfig:
    """Options of the estimator ``hybrik``. Those of its training have the published defaults."""

    weights: str = option(
        "random",
        "'random' (a small network, untrained), 'random-full' (untrained, of the published size), or a file: an "
        "official .pth or a .safetensors written here",
    )
    variant: Literal["", "resnet34", "hrnet_w48"] = option(
        "", "the network: 'resnet34' or 'hrnet_w48'; empty = that of the file, else 'resnet34'; a file must fit it"
    )
    body: str = option(
        "",
        "the SMPL file (.npz or official .pkl) that poses; 'free' = the free body; empty = the body in the weight file "
        "(official files hold SMPL's), without one the free body where the weights were trained with it",
    )
    flip_test: bool = option(False, "average with the mirrored crop, as the published scores do; takes twice as long")
    refine_scale: bool = option(
        True, "correct HRNet's camera by the posed body, as the official code does since May 2023; not in the scores"
    )
    principal_point: Literal["box", "image"] = option(
        "box",
        "the camera's principal point: 'box' (centre of the crop; the paper's Table 6) or 'image' (official demo)",
    )
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    uvd_loss: Literal["laplace", "l1"] = option(
        "laplace", "the loss of the joints: 'laplace' (with uncertainty, the published models) or 'l1'"
    )
    uvd_loss_weight: float = option(1.0, "weight of the joints in the training loss", least=0)
    beta_loss_weight: float = option(1.0, "weight of the shape coefficients in the training loss", least=0)
    pose_loss_weight: float = option(0.01, "weight of the rotation matrices in the training loss", least=0)
    twist_loss_weight: float = option(1.0, "weight of the twists in the training loss", least=0)
    scale_factor: float = option(0.3, "augmentation: deviation of the crop's scale", least=0, below=1)
    rot_factor: float = option(30.0, "augmentation: deviation of the crop's rotation, degrees", least=0, most=180)
    noise_factor: float = option(
        0.2, "augmentation: range of the factor of each colour channel about 1", least=0, most=1
    )
    flip_chance: float = option(
        0.25, "augmentation: share of mirrored crops; twice that for frames with 2D labels alone", least=0, most=0.5
    )
    occlusion: float = option(
        1.0, "augmentation: share of the crops of which noise covers a rectangle", least=0, most=1
    )


@frozen
class HybrikReaderConfig:
    """Options of the reader ``hybrik``."""

    annotations: str = option("", "HybrIK's annotation file in the style of Human3.6M or 3DPW (.json)")
    root: str = option("", "folder with images/ or imageFiles/; empty = the folder of the annotation file")
    body: str = option("", "the SMPL file of the annotations' betas; 'free' = the free body, as the writer's default")
    follow_links: bool = follow_links()


@frozen
class HybrikWriterConfig:
    """Options of the writer ``hybrik``."""

    body: str = option("", "the SMPL file (.npz or official .pkl) of the run's frames; empty = the free body")
    h36m_regressor: str = option(
        "",
        "the official J_regressor_h36m.npy for Human3.6M's 17 joints; empty = SMPL's nearest joints stand in for them, "
        "which training does not use",
    )
