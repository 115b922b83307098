"""The run's one body: that of the estimator that is trained, which must learn from labels of its own body.

Its file stands in ``body.json`` once it is known, so that later stages need not make the estimator to ask it. The body
that a checkpoint brings is written beside it, as ``body.npz``, for components that take theirs from a file.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from posesyn_core.components import Kind
from posesyn_core.errors import UserError
from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.seals import digest
from posesyn_core.recipe import Choice, Recipe, unstructure

if TYPE_CHECKING:
    from posesyn_core.body.model import Body

RECORD, FILE = "body.json", "body.npz"


@frozen
class Bodies:
    """Which body the run in ``folder`` has, and who must pose it; ``make_estimator`` makes the one that is trained."""

    folder: Path
    recipe: Recipe
    make_estimator: Callable[[], Any]

    @property
    def file(self) -> Path | None:
        """The SMPL file of the run's body; None is the free body.

        The estimator is made if no earlier call has found out. UserError if the recipe's body is another than its own.
        """
        plain = unstructure(self.recipe)
        estimator = {key: value for key, value in plain["estimator"].items() if key != "engine"}
        wanted = {"body": self.recipe.body, "estimator": estimator}
        record = _read(self.folder / RECORD)
        if record is None or record.get("of") != wanted or record != self._record(wanted, record.get("file")):
            found = self._found(getattr(self.make_estimator(), "body", None))
            record = self._record(wanted, None if found is None else str(found))
            write_atomic(self.folder / RECORD, json.dumps(record, indent=1) + "\n")
        return None if record["file"] is None else Path(record["file"])

    def _record(self, of: Mapping[str, Any], file: str | None) -> dict[str, Any]:
        """What is known of the body, with the checksums of that, and of the file if it is the run's own: damaged ones
        are made again."""
        own, record = self.folder / FILE, {"of": of, "file": file}
        content = digest(own.read_bytes()) if file == str(own) and own.is_file() else ""
        return {**record, "content": content, "checksum": digest(json.dumps(record, sort_keys=True).encode())}

    @property
    def body(self) -> "Body":
        """The run's body."""
        from posesyn_core.body.model import load_body

        return load_body(self.file)

    def file_for(self, kind: Kind, choice: Choice, where: str) -> Path | None:
        """The file to give to a component that names none; trained weights may lack what their checkpoint brought."""
        trained = where == "estimator" and choice.options != self.recipe.estimator.options
        if trained or (kind is not Kind.ESTIMATOR and _must_agree(kind, where)):
            return self.file
        return self.recipe.body_file

    def check(self, component: Any, kind: Kind, choice: Choice, where: str) -> None:
        """UserError if a component of the recipe must pose the run's body and poses another."""
        if _must_agree(kind, where):
            self.require(component, f"[{where}] {choice.name!r}", f"{where}.body")

    def require(self, component: Any, who: str, key: str) -> None:
        """UserError naming ``who`` and the ``key`` to set if it poses another body than the run's.

        A component that does not tell its body is believed.
        """
        from posesyn_core.body.agreement import body_difference

        own = getattr(component, "body", None)
        difference = None if own is None else body_difference(self.body, own)
        if difference is not None:
            raise UserError(
                f"{who} poses another body than [estimator] {self.recipe.estimator.name!r}, whose body is the run's: "
                f"{difference}; labels would be of one and pictures or training of the other: set {key} to that "
                "estimator's SMPL file, or the key 'body' for all"
            )

    def _found(self, own: "Body | None") -> Path | None:
        """The file of the estimator's ``own`` body; an estimator that tells none takes the recipe's."""
        from posesyn_core.body.agreement import body_difference
        from posesyn_core.body.model import load_body, save_body

        named = self.recipe.body_file
        if own is None:
            return named
        if named is not None:
            if difference := body_difference(load_body(named), own):
                raise UserError(
                    f"body = {str(named)!r} is another body than that of [estimator] {self.recipe.estimator.name!r}, "
                    f"of which the labels must be: {difference}; remove the key 'body', or 'estimator.body'"
                )
            return named
        if body_difference(load_body(), own) is None:
            return None
        save_body(own, self.folder / FILE)
        return self.folder / FILE


def _must_agree(kind: Kind, where: str) -> bool:
    """Whether the body of a component must be the run's: not those of data for mining and tests, nor of EEM alone."""
    return kind in (Kind.MOTION, Kind.ANIMATOR, Kind.WRITER) or where == "reference" or where.startswith("real.")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
