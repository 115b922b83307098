"""Which stages are complete, and what they were made from.

The folder of a stage holds ``inputs.json`` (the settings and the results of earlier stages that it is made from) from
its beginning, and ``done.json`` (its figures, and the mark of its results) from its end. A stage counts as complete
while its inputs are what the recipe and the earlier stages say now: work of other settings is never mixed in, and it
counts again when the old settings come back before it is done anew.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from posesyn_core.files.paths import write_atomic
from posesyn_core.pipeline.order import BUILDS_ON, settings_of
from posesyn_core.pipeline.seals import DamagedFile, check_regular, digest, fingerprint
from posesyn_core.pipeline.superseded import set_aside
from posesyn_core.pipeline.tables import Table, check_remedy, part_number
from posesyn_core.recipe import Recipe

INPUTS, DONE, SEAL = "inputs.json", "done.json", "_seal"
_CHUNK = 1 << 20


@frozen
class Ledger:
    """The books of one run folder. ``tables`` are those of each stage that has any, the stage's own last."""

    folder: Path
    recipe: Recipe
    tables: Mapping[str, Sequence[Table[Any]]]

    def figures(self, stage: str) -> dict[str, Any] | None:
        """The figures of a complete stage; None if it is not complete, or was made from something else."""
        done = self._done(stage)
        if done is None or self._given(stage) != self._inputs(stage):
            return None
        return {name: value for name, value in done.items() if name != SEAL}

    def outdated(self) -> list[str]:
        """The stages that were complete, but are made from something else than the run has now."""
        begun = (stage for stage in BUILDS_ON if (self.folder / stage / DONE).exists())
        return [stage for stage in begun if self.figures(stage) is None]

    def begin(self, stage: str) -> Path | None:
        """Open the books of a stage that is to be done or gone on with.

        Results of other inputs are set aside, and the place is returned. Of those with tables these are the books
        alone: the parts say themselves what they are made from.
        """
        place, inputs = None, self._inputs(stage)
        folder = self.folder / stage
        if self._given(stage) != inputs:
            place = set_aside(self.folder, [folder / DONE, folder / INPUTS] if stage in self.tables else [folder])
            self._write(stage, INPUTS, inputs, {})
        return None if stage in self.tables else place

    def finish(self, stage: str, figures: Mapping[str, Any]) -> None:
        """Mark a stage complete."""
        if self._given(stage) is None:
            self._write(stage, INPUTS, self._inputs(stage), {})
        tables = self.tables.get(stage, ())
        parts = {str(table.folder.relative_to(self.folder)): len(table.parts()) for table in tables}
        files = {} if tables else _checksums(self.folder / stage)
        plain = json.loads(json.dumps(figures))
        self._write(stage, DONE, plain, {"mark": self._mark(stage), "parts": parts, "files": files})

    def verify(self, stage: str) -> None:
        """DamagedFile unless the parts of a complete stage are those that were there when it was completed."""
        done = self._done(stage)
        if done is None or stage not in self.tables:
            return
        for table in self.tables[stage]:
            numbers, stated = [part_number(part) for part in table.parts()], self.stated_parts(stage, table)
            for number in range(stated):
                if number not in numbers[number : number + 1]:
                    raise DamagedFile(table.part(number), "is gone", check_remedy(table.part(number)))
            for number in numbers[stated:]:
                raise DamagedFile(table.part(number), "does not belong to the table", check_remedy(table.part(number)))
        if self._mark(stage) != done[SEAL]["mark"]:
            fault = "has parts that are not those which were written"
            raise DamagedFile(self.folder / stage, fault, check_remedy(self.folder / stage / DONE))

    def stated_parts(self, stage: str, table: Table[Any]) -> int:
        """How many parts a table had when its stage was completed; 0 if it is not."""
        parts = (self._done(stage) or {}).get(SEAL, {}).get("parts", {})
        return parts.get(str(table.folder.relative_to(self.folder)), 0)

    def read(self, stage: str, name: str) -> None:
        """DamagedFile unless a book of a stage (INPUTS or DONE) is whole or not there."""
        if name == DONE:
            self._done(stage)
        else:
            self._read(stage, name)

    def restore_inputs(self, stage: str) -> None:
        """Write the inputs of a stage again if they are gone or damaged, and its results are of those that hold now."""
        path = self.folder / stage / INPUTS
        try:
            if self._read(stage, INPUTS) is not None:
                return
        except DamagedFile:
            set_aside(self.folder, [path])
        try:
            mark = (self._done(stage) or {}).get(SEAL, {}).get("mark")
        except DamagedFile:
            mark = None
        if stage in self.tables or mark == self._of(stage):
            self._write(stage, INPUTS, self._inputs(stage), {})

    def changed_files(self, stage: str) -> list[tuple[Path, str]]:
        """(file, what is wrong with it) for the files of a complete stage without tables."""
        stated = (self._done(stage) or {}).get(SEAL, {}).get("files", {})
        present = _checksums(self.folder / stage) if stated else {}
        found = [
            (name, "is gone" if name not in present else "is not what was written")
            for name in sorted(stated)
            if stated[name] != present.get(name)
        ]
        return [(self.folder / stage / name, fault) for name, fault in found]

    def _inputs(self, stage: str) -> dict[str, Any]:
        earlier = {other: (self._done(other) or {}).get(SEAL, {}).get("mark") for other in BUILDS_ON[stage]}
        complete = {other: mark if self.figures(other) is not None else None for other, mark in earlier.items()}
        return {"settings": settings_of(self.recipe, stage), "from": complete}

    def _mark(self, stage: str) -> str:
        """What later stages know this one's results by: the content of its tables, else what it was made from."""
        tables = self.tables.get(stage)
        if tables is None:
            return self._of(stage)
        return fingerprint(*(seal.body for table in tables for seal in table.seals()))

    def _of(self, stage: str) -> str:
        """The mark of a stage without tables that is made from what holds now."""
        return fingerprint(self._inputs(stage))

    def _done(self, stage: str) -> dict[str, Any] | None:
        return self._read(stage, DONE)

    def _given(self, stage: str) -> dict[str, Any] | None:
        """The inputs that a stage was begun with."""
        found = self._read(stage, INPUTS)
        return None if found is None else {name: value for name, value in found.items() if name != SEAL}

    def _read(self, stage: str, name: str) -> dict[str, Any] | None:
        path = self.folder / stage / name
        try:
            check_regular(path)
        except ValueError as error:
            raise DamagedFile(path, str(error), check_remedy(path)) from error
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise DamagedFile(path, "is damaged: it is no JSON", check_remedy(path)) from error
        if not isinstance(found, dict):
            raise DamagedFile(path, "is damaged: it is no JSON object", check_remedy(path))
        seal = found.get(SEAL)
        if not isinstance(seal, dict) or seal.get("checksum") != _checksum(f"{stage}/{name}", found):
            raise DamagedFile(path, "is damaged: it does not agree with its checksum", check_remedy(path))
        return found

    def _write(self, stage: str, name: str, content: Mapping[str, Any], seal: Mapping[str, Any]) -> None:
        """Write a book with its seal, to which the checksum of everything is added."""
        whole = {**content, SEAL: dict(seal)}
        whole[SEAL]["checksum"] = _checksum(f"{stage}/{name}", whole)
        write_atomic(self.folder / stage / name, json.dumps(whole, indent=1, sort_keys=True) + "\n")


def _checksum(name: str, book: Mapping[str, Any]) -> str:
    """Of which book it is and all that it says, but for the checksum itself."""
    seal = {name: value for name, value in book[SEAL].items() if name != "checksum"}
    return digest(json.dumps([name, {**book, SEAL: seal}], sort_keys=True).encode())


def _checksums(folder: Path) -> dict[str, str]:
    """Of every file below a folder but for the books, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (INPUTS, DONE))
    return {path.relative_to(folder).as_posix(): _file_digest(path) for path in sorted(files)}


def _file_digest(path: Path) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()
