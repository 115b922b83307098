"""Unlabelled pictures: any folder of them, and DeepFashion (Liu et al., CVPR 2016)."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from attrs import NOTHING, define

from posesyn_core import option
from posesyn_core.components import KeypointEstimator, PersonDetector
from posesyn_core.contracts.options import follow_links
from posesyn_core.errors import SampleError, UserError
from posesyn_core.files import remote
from posesyn_core.files.locating import PICTURES
from posesyn_core.values import SampleOrRejection, Url
from posesyn_datasets.readers.annotations import existing_root
from posesyn_datasets.readers.unlabelled import (
    DETECTOR,
    LABELLER,
    Picture,
    PictureOrRejection,
    people,
    sorted_out,
    sorted_out_at,
)

DEEPFASHION_FOLDERS = ("Img/img_highres", "Img/img", "img_highres", "img")


@define
class ImagesConfig:
    """Which pictures to read; they have no labels: name a ``labeller``, or set ``score.labels``.

    ``root`` is a picture, or a folder of pictures at any depth (.jpg, .png, .webp, .tif, .bmp, .avif), by path or by
    address: ``s3://bucket/photos``, ``gs://``, ``hf://``, or ``https://`` where the server shows what a folder holds.
    """

    root: Path | Url = option(
        NOTHING, "a picture, or a folder of pictures at any depth; a path, or s3://..., https://..."
    )
    boxes: Path | None = option(
        None, "JSON with the people's boxes by picture (path below root); empty = the whole picture is one person's"
    )
    detector: PersonDetector | None = option(None, DETECTOR)
    labeller: KeypointEstimator | None = option(None, LABELLER)
    follow_links: bool = follow_links()


@define
class DeepFashionConfig:
    """Where DeepFashion lies; it has no poses: set ``score.labels = "estimated_2d"`` or ``"estimated_3d"``.

    Get the benchmark (In-shop Clothes Retrieval, or another of its parts) from
    https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html; ``root`` holds the unpacked ``Img/img`` (or
    ``Img/img_highres``, read first). Its clothes' boxes are no people's; without ``boxes`` or ``detector`` the whole
    picture is taken.
    """

    root: Path = option(NOTHING, "folder of the data set, with Img/img or Img/img_highres")
    boxes: Path | None = option(
        None, "JSON with the people's boxes by picture (path below img); empty = the whole picture is one person's"
    )
    detector: PersonDetector | None = option(None, DETECTOR)
    labeller: KeypointEstimator | None = option(None, LABELLER)
    follow_links: bool = follow_links()


@define(slots=False)  # cached_property needs a __dict__
class ImagesReader:
    """Reads pictures; ids: ``images/<path>-<person>``."""

    config: ImagesConfig | DeepFashionConfig
    dataset: str = "images"

    def __len__(self) -> int:
        return len(self._files) + len(self._found[1])

    def samples(self) -> Iterator[SampleOrRejection]:
        """See :class:`posesyn_core.components.DatasetReader`; what is not read, then by path, in natural order."""
        yield from people(self.dataset, self._pictures(), self.config.boxes, self.config.detector, self.config.labeller)

    def _pictures(self) -> Iterator[PictureOrRejection]:
        from posesyn_core.files.images import decode_image, load_image, read_encoded, storage_of, upright_size

        yield from self._found[1]
        for place in self._files:
            name = place.name if isinstance(place, Url) else place.relative_to(self._folder).as_posix()
            try:
                if isinstance(place, Url):  # of which only the beginning is read
                    yield Picture(name, place, storage_of(place).upright_size, partial(load_image, place))
                else:
                    encoded = read_encoded(place)
                    yield Picture(name, place, upright_size(encoded), partial(decode_image, encoded))
            except SampleError as error:
                yield f"{self.dataset}/{name}", str(error)

    @cached_property
    def _folder(self) -> Path:
        root = self._root
        return root.parent if root.is_file() else existing_root(root, self.dataset)

    @property
    def _root(self) -> Path:
        assert isinstance(self.config.root, Path)
        return self.config.root.expanduser()

    @cached_property
    def _found(self) -> tuple[Sequence[Path | Url], list[tuple[str, str]]]:
        """The pictures, and what else is there."""
        config = self.config
        if isinstance(config.root, Url):
            if Path(config.root.base).suffix.lower() in PICTURES:
                return [remote.file_at(config.root.base)], []
            return sorted_out_at(self.dataset, config.root, PICTURES, "picture")
        if self._root.is_file():
            return [self._root], []
        return sorted_out(
            self.dataset, self._folder, PICTURES, "picture", follow_links=config.follow_links, boxes=config.boxes
        )

    @property
    def _files(self) -> Sequence[Path | Url]:
        return self._found[0]


class DeepFashionReader(ImagesReader):
    """Reads DeepFashion; ids: ``deepfashion/<path>-<person>``."""

    def __init__(self, config: DeepFashionConfig) -> None:
        super().__init__(config, "deepfashion")

    @cached_property
    def _folder(self) -> Path:
        root = existing_root(self._root, self.dataset)
        found = next((root / name for name in DEEPFASHION_FOLDERS if (root / name).is_dir()), None)
        if found is None:
            raise UserError(f"the deepfashion reader misses Img/img in {str(root)!r}; unpack img.zip there")
        return found
