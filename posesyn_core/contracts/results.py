"""What a component's methods return, held against what was asked for.

A list of something else, or of another length, is the plugin's fault with every sample: the sentence names the method.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from posesyn_core.errors import PoseSynError, SampleError, UserError

V = TypeVar("V")


def expect(results: object, kind: type[V], count: int | None, method: Callable[..., Any]) -> list[V]:
    """What a component's ``method`` returned, if it is a list (or tuple) of ``count`` values of ``kind``; None: any.

    UserError naming the plugin's class and method otherwise.
    """
    where = name_of(method)
    if not isinstance(results, list | tuple):
        raise UserError(f"{where} returned {a_value(results)} where a list of {kind.__name__} is needed")
    if count is not None and len(results) != count:
        raise UserError(f"{where} returned {len(results)} results for {count} inputs: one for each is needed")
    wrong = [item for item in results if not isinstance(item, kind)]
    if wrong:
        raise UserError(f"{where} returned {a_value(wrong[0])} in its list, where each must be a {kind.__name__}")
    return list(results)


def expect_one(result: object, kind: type[V] | tuple[type[V], ...], method: Callable[..., Any]) -> V:
    """What a ``method`` returned, if it is a ``kind``; UserError naming it otherwise."""
    if isinstance(result, kind):
        return result
    names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
    raise UserError(f"{name_of(method)} returned {a_value(result)} where a {names} is needed")


@contextmanager
def calling(method: Callable[..., Any]) -> Iterator[None]:
    """Whatever a component's ``method`` raises is one sentence that names it.

    Our own errors stay, and those of the system and of memory, torch's among them.
    """
    try:
        yield
    except (PoseSynError, MemoryError):
        raise
    except Exception as error:
        if (isinstance(error, OSError) and error.errno is not None) or type(error).__name__ == "OutOfMemoryError":
            raise
        said = " ".join(str(error).split())
        raise UserError(f"{name_of(method)} fails: {type(error).__name__}: {said} (--debug shows where)") from error


@contextmanager
def rejecting(method: Callable[..., Any]) -> Iterator[None]:
    """As :func:`calling`, where a unit of work is at stake: what ``method`` raises is a SampleError that names it."""
    try:
        yield
    except PoseSynError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SampleError(f"{type(error).__name__}: {error} (in {name_of(method)})") from error


def name_of(method: Callable[..., Any]) -> str:
    """A component's method with its class and package: "my_package.estimator.Estimator.predict"."""
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "__call__")
    if owner is None or inspect.ismodule(owner):
        return f"{getattr(method, '__module__', type(method).__module__)}.{getattr(method, '__qualname__', name)}"
    kind = owner if isinstance(owner, type) else type(owner)
    return f"{kind.__module__}.{kind.__qualname__}.{name}"


def a_value(value: object) -> str:
    """A value by its type, for a sentence: "a dict", "an array", "None"."""
    return "None" if value is None else a(type(value).__name__.replace("ndarray", "array"))


def a(noun: str) -> str:
    """A noun with its article."""
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
