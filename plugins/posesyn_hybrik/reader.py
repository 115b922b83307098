"""HybrIK's annotation files as a data set: for training on them, or for finding what an estimator gets wrong."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from posesyn_core.body.agreement import body_for_checkpoint
from posesyn_core.errors import UserError
from posesyn_core.values import Sample, SampleOrRejection, SmplParams
from posesyn_hybrik.annotations import PersonOrRejection, read_people
from posesyn_hybrik.config import HybrikReaderConfig
from posesyn_hybrik.people import MARGIN, Person


class HybrikReader:
    """Yields the people of one annotation file with all their labels, SMPL-24 joints.

    Boxes are the squares of the file without the margin. SMPL's translation is what puts the pelvis of the body, which
    must be that of the annotations, where the file says it is.
    """

    def __init__(self, config: HybrikReaderConfig) -> None:
        """UserError if no file is named or the body can't be loaded."""
        if not config.annotations:
            raise UserError("the reader hybrik needs the option annotations: a .json in HybrIK's format")
        self.config = config
        self.body = body_for_checkpoint(config.body, needs_smpl=True)

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`."""
        for person in self._people():
            yield (f"hybrik/{person[0]}", person[1]) if isinstance(person, tuple) else self._sample(person)

    training_kind = Person

    def training_items(self) -> Iterator[PersonOrRejection]:
        """See :class:`posesyn_core.components.ReaderAbilities`: all 29 joints, twists and weights of HybrIK's loss."""
        return self._people()

    def _people(self) -> Iterator[PersonOrRejection]:
        root = Path(self.config.root).expanduser() if self.config.root else None
        follow_links = self.config.follow_links
        return read_people(Path(self.config.annotations).expanduser(), root, follow_links=follow_links)

    def _sample(self, person: Person) -> Sample:
        half = person.side / MARGIN / 2
        return Sample(
            id=f"hybrik/{person.id}",
            image=person.image,
            box=np.concatenate([person.centre - half, person.centre + half]),
            joint_set="smpl24",
            keypoints2d=person.joints2d[:24].astype(np.float32),
            confidence=person.weights[:24, 0].astype(np.float32),
            camera=person.camera,
            joints3d=person.joints3d[:24].astype(np.float32),
            smpl=self._smpl(person),
        )

    def _smpl(self, person: Person) -> SmplParams | None:
        pose, pelvis = person.pose, person.pelvis
        if pose is None or pelvis is None:
            return None
        rotations, betas = pose.rotations.astype(np.float32), pose.betas.astype(np.float32)
        rest = self.body.rest_joints(torch.from_numpy(betas[None]))[0, 0].numpy()
        return SmplParams(rotations[0], rotations[1:], betas, (pelvis - rest).astype(np.float32))
