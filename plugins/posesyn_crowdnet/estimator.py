"""3DCrowdNet as a target pose estimator: preprocess, network, decode; and its training."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray
from torch import Tensor, nn

from posesyn_core.body.decoding import place_smpl
from posesyn_core.body.model import ShapeSpace
from posesyn_core.contracts.training import TrainingDefaults
from posesyn_core.errors import SampleError
from posesyn_core.files.checkpoints import replace_weights
from posesyn_core.files.images import load_image
from posesyn_core.geometry.boxes import check_box
from posesyn_core.training.evaluate import load_regressor
from posesyn_core.values import FloatArray, LabelledFrame, PoseEstimate, Prepared, Sample
from posesyn_crowdnet.body import JointRegressor, read_head_top, superset_regressor
from posesyn_crowdnet.config import CrowdNetConfig
from posesyn_crowdnet.crops import Floats, as_xywh, crop_box, draw_view, tight_box
from posesyn_crowdnet.detections import Detections, shipped_joints
from posesyn_crowdnet.inputs import network_inputs
from posesyn_crowdnet.joints import Names, official_joints
from posesyn_crowdnet.losses import crowdnet_loss
from posesyn_crowdnet.network import FOCAL_LENGTH, CrowdNetwork, camera
from posesyn_crowdnet.people import Person, person_of
from posesyn_crowdnet.posefix import disturb
from posesyn_crowdnet.targets import training_item
from posesyn_crowdnet.weights import load_network, save_network

SOLID: Mapping[str, bool] = {
    **dict.fromkeys(("human36m", "h36m", "muco", "3dpw", "pw3d", "mpi_inf_3dhp"), True),
    **dict.fromkeys(("mscoco", "coco", "mpii", "crowdpose"), False),
}
"""Which data sets, by label, have 3D joints: 3DCrowdNet draws as often from those as from the others."""


class CrowdNet:
    """A TrainableEstimator. The network maps ``images``, ``joints`` and ``joints_mask`` to joints, pose and camera."""

    training_kind: ClassVar[type] = Person
    training_defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        learning_rate=1e-5, batch_size=64, epochs=10, decay="constant", warm_up=0.0, max_gradient=0.0, mode="train"
    )
    """The paper's fine-tuning of 3DCrowdNet (supplement A); as officially, Adam without clipping or warm-up."""
    scratch_defaults: ClassVar[TrainingDefaults] = evolve(training_defaults, learning_rate=1e-4)
    """The paper's words on the published checkpoint (supplement A); the official file for 3DPW has 1e-3."""
    keep_fp32: ClassVar[tuple[str, ...]] = (
        *("joints", "heatmaps", "position_net.soft_argmax", "rotation_net", "root_rotation", "vposer"),
    )
    """Submodules of the network for which half precision is too coarse; together 6 % of its work."""

    def __init__(self, config: CrowdNetConfig) -> None:
        """UserError if the weights, the body or another file can't be loaded."""
        self.config = config
        loaded = load_network(config.weights)
        channels_last = loaded.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: CrowdNetwork = channels_last.to(config.device).eval()
        self.body = loaded.load_body(config.body)
        self.betas: ShapeSpace = loaded.betas or self.body.shape_space
        head_top = read_head_top(config.extra_regressor, len(self.body.v_template))
        rows, known = superset_regressor(self.body, head_top)
        self._label_joints = JointRegressor(self.body, rows)  # stays on the CPU, where labels are made
        self._joints = JointRegressor(self.body, rows).to(config.device)
        self._known = known.to(config.device)
        path = config.h36m_regressor
        matrix = load_regressor(Path(path).expanduser(), self.body) if path else None
        self._fit_check = None if matrix is None else JointRegressor(self.body, torch.from_numpy(matrix))
        self.detections = Detections(Path(config.detections).expanduser()) if config.detections else None

    def preprocess(self, sample: Sample) -> Prepared:
        """The crop about the 2D pose and that pose within it (see ``posesyn_crowdnet.inputs``).

        The pose is what ``detections`` has of the sample; else what its data set ships of a detector; else what the 2D
        estimator ``keypoints`` sees; else the sample's labels. SampleError for a bad image or box, and
        where no 2D joint is confident enough.
        """
        image = load_image(sample.image)
        height, width = image.shape[:2]
        check_box(sample.box, width, height)
        joints, names = self._pose(sample)
        sure = joints[:, 2] > self.config.confidence
        if not sure.any():
            raise SampleError("3DCrowdNet needs 2D joints, and none is labelled or detected with enough confidence")
        wanted = as_xywh(sample.box) if self.config.crop == "box" else tight_box(joints[:, :2], sure)
        box = crop_box(wanted, width, height)
        return Prepared(network_inputs(image, box, joints, names, self.config.confidence), box)

    def _pose(self, sample: Sample) -> tuple[Floats, Names]:
        if self.detections is not None and (sample.detected is None or self.detections.has(sample)):
            return self.detections.joints(sample)
        if sample.detected is not None:
            return shipped_joints(sample.detected)
        if self.config.keypoints is not None:
            (found,) = self.config.keypoints.detect([sample])
            return official_joints(self.config.keypoints.joint_set, found.points, found.confidence)
        return official_joints(sample.joint_set, sample.keypoints2d, sample.confidence)

    def given_labels(self, sample: Sample) -> bool:
        """Whether the 2D pose that the network gets of a sample is its labels'."""
        return self.detections is None and sample.detected is None and self.config.keypoints is None

    def decode(self, outputs: Mapping[str, NDArray[np.float32]], contexts: Sequence[FloatArray]) -> list[PoseEstimate]:
        """Pose the body; ``contexts`` are the squares that were cut out (x, y, width, height).

        The full-image camera has the focal length 5000 pixels (Table 6) and its principal point in the square's centre.
        Joints are SMPL's kinematic ones, as everywhere in PoseSyn; the official code regresses them from the mesh.
        """
        boxes = np.stack(contexts)
        centre = boxes[:, :2] + boxes[:, 2:] / 2
        focal = np.full((len(boxes), 2), FOCAL_LENGTH, np.float32)
        transl = camera(torch.from_numpy(outputs["cam"]), torch.from_numpy(boxes[:, 2])).numpy()
        return place_smpl(self.body, outputs["rotmat"], outputs["shape"], transl, focal, centre)

    def training_inputs(
        self, frame: LabelledFrame | Person, rng: np.random.Generator, fit_check: JointRegressor | None = None
    ) -> dict[str, FloatArray]:
        """One augmented item with its targets (see ``posesyn_crowdnet.targets``). SampleError for a bad image or box.

        Besides our frames it takes the people of official annotation files (``posesyn_crowdnet.annotations``), of which
        Human3.6M's and MuCo's want ``fit_check``, the regressor of Human3.6M's joints (else that of the options), to
        leave out bad fits.
        """
        image = load_image(frame.image)
        person = frame if isinstance(frame, Person) else person_of(frame, image.shape[1], image.shape[0])
        view = draw_view(rng)
        errors = partial(disturb, rng=rng) if self.config.synthesise_errors else None
        return training_item(
            person, image, view, self._label_joints, disturb=errors, fit_check=fit_check or self._fit_check
        )

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The published losses (see ``posesyn_crowdnet.losses``), in single precision whatever the network's is."""
        found = self.network(batch["images"], batch["joints"], batch["joints_mask"])
        with torch.autocast(batch["images"].device.type, enabled=False):
            outputs = {name: tensor.float() for name, tensor in found.items()}
            joints = self._joints(outputs["rotmat"], outputs["shape"])
            return crowdnet_loss(outputs, joints, batch, self._known)

    def mixture(self, sizes: Mapping[str, int]) -> Mapping[str, float] | None:
        """As published: half of the people with 3D joints, half without, each half in proportion to its sets' sizes."""
        kinds = {label: SOLID.get(label.lower()) for label in sizes}
        if None in kinds.values() or len(set(kinds.values())) < 2:
            return None
        totals = {kind: sum(size for label, size in sizes.items() if kinds[label] is kind) for kind in (True, False)}
        return {label: size / totals[bool(kinds[label])] for label, size in sizes.items()}

    def parameters(self) -> Iterable[nn.Parameter]:
        """What official training optimises: everything but VPoser."""
        return (parameter for name, parameter in self.network.named_parameters() if not name.startswith("vposer."))

    def reinitialise(self) -> None:
        """Untrained weights; VPoser, which training takes as given, and the body stay."""
        replace_weights(self.network, CrowdNetwork(self.network.sizes), kept=["vposer.*", "human_model_layer.*"])

    def save(self, path: Path) -> None:
        """Write the weights: ``.pth.tar`` in the official layout, else safetensors."""
        save_network(self.network, self.betas, path)
