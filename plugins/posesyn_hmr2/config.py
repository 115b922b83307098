"""Options of the estimator ``hmr2``."""

from typing import Literal

from attrs import frozen

from posesyn_core import option


@frozen
class Hmr2Config:
    """Options of the estimator ``hmr2``. Those of its training have the published names and defaults."""

    weights: str = option(
        "random",
        "a file (4D-Humans' epoch=35-step=1000000.ckpt, HMR2.0a or b, or a .safetensors written here), 'random' (an "
        "untrained network of small size, for tests) or 'random-full' (untrained, of the published size: 2.7 GB)",
    )
    body: str = option(
        "",
        "the SMPL file (.npz or official .pkl) that gives the joints; 'free' = the free body; empty = the body in the "
        "checkpoint, else the free body where the weights are trained with it, and a refusal where they need SMPL's",
    )
    device: str = option("cpu", "torch device for training: cpu, cuda, cuda:1, mps")
    joint_regressor: str = option(
        "", "SMPL_to_J19.pkl (or .npy): 19 more joints to train on; empty = that of the checkpoint, if it has one"
    )
    update_hips: bool = option(False, "move the hips of OpenPose's block outwards (off in the released models)")
    ief_iters: int = option(
        1, "rounds of refinement, for networks whose query token is the current estimate", least=1, most=100
    )
    mocap: str = option(
        "", "npz of real bodies (body_pose, betas) to train the discriminator on; empty = no adversarial loss"
    )
    pose_histogram: str = option(
        "", "amass_poses_hist100_SMPL+H_G.npy: poses that are unusual by it are not trained on; empty = all are"
    )
    keypoints_3d_weight: float = option(0.05, "weight of the 3D joints in the training loss", least=0)
    keypoints_2d_weight: float = option(0.01, "weight of the 2D joints", least=0)
    global_orient_weight: float = option(0.001, "weight of the root's rotation matrix", least=0)
    body_pose_weight: float = option(0.001, "weight of the other rotation matrices", least=0)
    betas_weight: float = option(0.0005, "weight of the shape coefficients", least=0)
    adversarial_weight: float = option(
        0.0005, "weight of the adversarial loss, and of the discriminator's own", least=0
    )
    scale_factor: float = option(0.3, "augmentation: deviation of the crop's scale", least=0, below=1)
    rot_factor: float = option(30.0, "augmentation: deviation of the crop's rotation, degrees", least=0, most=180)
    rot_aug_rate: float = option(0.6, "augmentation: share of the crops that are turned", least=0, most=1)
    trans_factor: float = option(0.02, "augmentation: deviation of the crop's centre, share of its side", least=0)
    color_scale: float = option(
        0.2, "augmentation: range of the factor of each colour channel about 1", least=0, most=1
    )
    flip_aug_rate: float = option(0.5, "augmentation: share of the crops that are mirrored", least=0, most=1)
    extreme_crop_aug_rate: float = option(
        0.1, "augmentation: share of the crops that show a part of the body alone", least=0, most=1
    )
    extreme_crop_aug_level: Literal[0, 1] = option(
        1, "augmentation: 0 = parts with the head only, 1 = arms and legs as well"
    )
