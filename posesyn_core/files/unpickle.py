"""Pickles from elsewhere (SMPL models, annotations), read without running what they ask for.

A pickle is a program: it may import any name and call it. Here it is parsed into the parts that it asks for, and the
values are made afterwards, of checked parts (:mod:`posesyn_core.files.pickled`): numpy arrays of numbers and text,
scipy's sparse matrices, plain containers, the chumpy arrays in the official SMPL files, and pandas' tables. Any other
name is refused. Nesting is bounded, and so is what repeated references unfold to, by the size of the file.
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posesyn_core.errors import UserError
from posesyn_core.files.pickled import Known, Made, Refused, known
from posesyn_core.files.reading import check_packing, read_file, reason_of
from posesyn_core.files.sniffing import HEAD, ZIP, not_data

LONGEST_NUMBER = 4096
"""Bits of a whole number."""
DEEPEST = 100
"""Levels of nesting."""
UNFOLDING = 8
"""Everything in a pickle, repeated references counted each time, is at most so many times its size ..."""
LEAST_BUDGET = 1_000_000
"""... or this, in units of 8 bytes."""

_BASE: Any = pickle._Unpickler  # its dispatch over opcodes is what has to be narrowed; it never trusts a length
_REFUSED = (pickle.INST, pickle.OBJ, pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4,
            pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)  # fmt: skip


class _Parser(_BASE):  # type: ignore[misc]
    """Parses a pickle into containers, numbers, texts, :class:`Known` and :class:`Made`; calls nothing."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._size = len(content)
        self._depths: dict[int, tuple[Any, int]] = {}

    def find_class(self, module: str, name: str) -> Known:
        """The stand-in of a harmless name."""
        found = known(str(module), str(name))
        if found is None:
            raise Refused(f"it asks for {module}.{name}, which is neither data nor known to be harmless")
        return found

    def call(self) -> None:
        """REDUCE and NEWOBJ: the topmost item is the arguments of the one below."""
        args = self.stack.pop()
        if not isinstance(self.stack[-1], Known) or not isinstance(args, tuple):
            raise Refused("it calls something that is no known function")
        self.stack[-1] = Made(self.stack[-1], args)

    def call_with_names(self) -> None:
        """NEWOBJ_EX, without named arguments."""
        if self.stack.pop():
            raise Refused("it calls something with named arguments")
        self.call()

    def build(self) -> None:
        """BUILD: the topmost item is the state of the one below."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Made):
            raise Refused("it changes something that was not made")
        self.stack[-1].build(state)

    def long_bytearray(self) -> None:
        """BYTEARRAY8, not longer than the file."""
        size = int.from_bytes(self.read(8), "little")
        if size > self._size:
            raise EOFError("pickle data was truncated")
        self.append(bytearray(self.read(size)))

    def measure(self) -> None:
        """Bound the nesting of tuples, which Python hashes without a bound when they are keys."""
        made = self.stack[-1]
        depth = 1 + max((self._depths.get(id(item), (None, 0))[1] for item in made if type(item) is tuple), default=0)
        if depth > DEEPEST:
            raise Refused(f"it is nested more than {DEEPEST} levels deep")
        self._depths[id(made)] = made, depth

    dispatch = {code: load for code, load in _BASE.dispatch.items() if code not in {code[0] for code in _REFUSED}}  # noqa: RUF012


def _measured(load: Callable[[_Parser], None]) -> Callable[[_Parser], None]:
    def loading(parser: _Parser) -> None:
        load(parser)
        parser.measure()

    return loading


_Parser.dispatch |= {
    pickle.REDUCE[0]: _Parser.call,
    pickle.NEWOBJ[0]: _Parser.call,
    pickle.NEWOBJ_EX[0]: _Parser.call_with_names,
    pickle.BUILD[0]: _Parser.build,
    pickle.BYTEARRAY8[0]: _Parser.long_bytearray,
    **{
        code[0]: _measured(_BASE.dispatch[code[0]])
        for code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
    },
}


class _Values:
    """Makes the values of parsed parts; each part once, however often it is referred to."""

    def __init__(self, size: int) -> None:
        """``size`` of the pickle, bytes."""
        self._most = max(LEAST_BUDGET, UNFOLDING * size)
        self._made: dict[int, tuple[Any, Any, int]] = {}
        self._open: set[int] = set()
        self._weights = [0]

    def plain(self, part: Any) -> Any:
        """The value of a part: containers anew, with everything in them made."""
        if part is None or isinstance(part, int | float | str | bytes | bytearray):
            if isinstance(part, int) and part.bit_length() > LONGEST_NUMBER:
                raise Refused(f"it has a whole number of {part.bit_length()} bits")
            self._spend(1 + (len(part) // 8 if isinstance(part, str | bytes | bytearray) else 0))
            return part
        if id(part) not in self._made:
            self._make(part)
        value, _, weight = self._made[id(part)]
        self._spend(weight)
        return value

    def _make(self, part: Any) -> None:
        if id(part) in self._open:
            raise Refused("it has something that contains itself")
        if len(self._open) >= DEEPEST:
            raise Refused(f"it is nested more than {DEEPEST} levels deep")
        self._open.add(id(part))
        self._weights.append(1)
        value = self._value(part)
        weight = self._weights.pop() + (value.nbytes // 8 if isinstance(value, np.ndarray) else 0)
        self._open.discard(id(part))
        self._made[id(part)] = value, part, weight  # the part, too, so that its id stays its own

    def _value(self, part: Any) -> Any:
        if isinstance(part, Made):
            return part.of.make(self.plain, part)
        if isinstance(part, dict):
            return {self.plain(key): self.plain(value) for key, value in part.items()}
        if type(part) in (list, tuple, set, frozenset):
            return type(part)(self.plain(item) for item in part)
        raise Refused(f"it has {getattr(part, 'name', type(part).__name__)} where data should be")

    def _spend(self, weight: int) -> None:
        self._weights[-1] += weight
        if self._weights[-1] > self._most:
            raise Refused("it refers to its own parts so often that it unfolds to far more than its size")


def load_pickle(path: Path) -> Any:
    """Read a data pickle of Python 2 or 3; UserError naming the file and the refused class, or what is broken."""
    return read_pickle(read_file(path, "pickle"), str(path))


def read_pickle(content: bytes, name: str) -> Any:
    """As :func:`load_pickle`, of a pickle's bytes, which messages call ``name``."""
    try:
        return _Values(len(content)).plain(_Parser(content).load())
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"cannot read the pickle {name!r}: {_complaint(content, error)}") from error


def _complaint(content: bytes, error: Exception) -> str:
    if content.startswith(ZIP):
        return "it is a zip archive (a PyTorch checkpoint or an npz?), not a pickle"
    if isinstance(error, EOFError):
        return "it ends early: download it again"
    foreign = isinstance(error, KeyError | IndexError)  # no such operation, or nothing on the stack to operate on
    return not_data(content[:HEAD]) or ("it is no pickle, or a damaged one" if foreign else reason_of(error))


def load_object(path: Path, key: str) -> Any:
    """The object under ``key`` in an .npz whose arrays are pickled, read as :func:`load_pickle` does."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_file(path, "npz file"))) as archive, archive.open(f"{key}.npy") as member:
            check_packing([archive.getinfo(f"{key}.npy")])
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            if not header(member)[2].hasobject:
                raise UserError(f"{key!r} in {str(path)!r} is a plain array, not a pickled object")
            content = member.read()
    except UserError:
        raise
    except Exception as error:  # whatever a damaged archive leads to
        raise UserError(f"{str(path)!r} is no .npz with {key!r}: {reason_of(error)}") from error
    found = read_pickle(content, f"{path}, {key}")
    return found.item() if isinstance(found, np.ndarray) and found.ndim == 0 else found
