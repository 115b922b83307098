"""3DCrowdNet's annotation files as a data set: what the writer wrote, or the official files themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import UserError
from posesyn_core.values import SampleOrRejection

if TYPE_CHECKING:
    from posesyn_crowdnet.people import Person


@define
class CrowdNetReaderConfig:
    """Where 3DCrowdNet's ``data`` folder is, and which of its sets to read."""

    root: Path = option(NOTHING, "the folder with MSCOCO, MPII, Human36M or MuCo, laid out as for the official code")
    part: Literal["mscoco", "mpii", "human36m", "muco"] = option("mscoco", "which set; part of the sample ids")
    follow_links: bool = follow_links()


@define
class CrowdNetReader:
    """Reads training people with 2D joints and, where annotated, SMPL. Ids: ``crowdnet/<part>/<annotation id>``."""

    config: CrowdNetReaderConfig

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; the order is that of the images' first annotations."""
        for person in self.training_items():
            if isinstance(person, tuple):
                yield f"crowdnet/{self.config.part}/{person[0]}", person[1]
            else:
                yield self._sample(person)

    @property
    def training_kind(self) -> type:
        """3DCrowdNet's own people: each set's own joints, fits and the neighbours that disturb detections."""
        from posesyn_crowdnet.people import Person

        return Person

    def training_items(self) -> "Iterator[Person | tuple[str, str]]":
        """See :class:`posesyn_core.components.ReaderAbilities`."""
        from posesyn_crowdnet import annotations

        root = self.config.root
        if not root.is_dir():
            raise UserError(f"the root {str(root)!r} of the crowdnet reader is not a folder; check the path")
        readers = {
            "mscoco": annotations.read_mscoco,
            "mpii": annotations.read_mpii,
            "human36m": annotations.read_human36m,
            "muco": annotations.read_muco,
        }
        yield from readers[self.config.part](root, follow_links=self.config.follow_links)

    def _sample(self, person: "Person") -> SampleOrRejection:
        from posesyn_crowdnet.people import sample_of

        return sample_of(person, f"crowdnet/{self.config.part}/{person.id}")
