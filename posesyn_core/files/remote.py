"""Files at addresses, by fsspec: ``s3://``, ``gs://``, ``hf://`` and ``https://``, read when they are needed.

What the user names is a base, and nothing that lies elsewhere is ever read: a name that an annotation file has must
stay below the base however a server may decode it, and so must what a web server redirects to. Reading is tried a few
times; what fails then is a SampleError, which rejects the sample that wanted it. Credentials are those that fsspec's
file systems find by themselves (environment, configuration files). Nothing is kept on the disk.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from http import HTTPStatus
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit

from posesyn_core.errors import SampleError, UserError
from posesyn_core.files.reading import reason_of
from posesyn_core.values.places import Url

T = TypeVar("T")

SCHEMES = ("s3", "gs", "hf", "https", "http", "memory")
ATTEMPTS = 3
"""How often a file is asked for; between the attempts it waits ``WAIT`` seconds, then twice that."""
WAIT = 0.5
SECONDS = 60.0
"""That a web server may take for its next bytes."""
MOST_DECODINGS = 5
"""A name that is still quoted after so many decodings means no good."""

_WEB = ("http", "https")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors that another attempt would not mend."""
_REFUSALS = (400, 401, 403, 405, 410, 416)
"""And a web server's."""
_CHUNK = 1 << 20


def is_url(text: object) -> bool:
    """Whether a text is an address, also one that has been a path meanwhile (``s3:/bucket``); not Windows' drives."""
    return _ADDRESS.match(str(text)) is not None


def base_of(text: str) -> Url:
    """The base that a user names. UserError if it is none, or if a package that it needs is missing."""
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES or not text.startswith(f"{parts.scheme}://") or not parts.netloc:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES if scheme != "memory")
        raise UserError(f"{text!r} is no address that can be read: it must name what lies below one of {known}")
    if parts.query or parts.fragment or parts.password or (parts.username and parts.scheme in _WEB):
        raise UserError(
            f"the address {parts._replace(netloc=parts.netloc.rpartition('@')[2], query='', fragment='').geturl()!r} "
            "must be without user, password, '?' and '#': it is written into tables and reports"
        )
    decoded = _decoded(text)
    if decoded is None or {"..", "."} & set(decoded.replace("\\", "/").split("/")):
        raise UserError(f"the address {text!r} must name its folder without '.' and '..'")
    _file_system(parts.scheme, text)  # a package that is missing is told at once
    return Url(text.rstrip("/"))


def on_disk(folder: Path) -> Path:
    """A run's folder as it is. UserError if it is an address: object stores know no locks and no atomic renames."""
    if is_url(folder):
        raise UserError(
            f"a run folder must lie on a file system, not at {str(folder)!r}: object stores can neither lock nor "
            "rename files; write to a disk, and copy the run when it is done"
        )
    return folder


def on_web(url: Url) -> bool:
    """Whether a web server has it, and not an object store."""
    return url.base.startswith(tuple(f"{scheme}://" for scheme in _WEB))


def file_at(text: str) -> Url:
    """A single file that the user names; what lies beside it is below the same base. UserError as :func:`base_of`."""
    folder, _, name = text.rpartition("/")
    try:
        return below(base_of(folder), unquote(name) if folder.startswith("http") else name)
    except SampleError as error:
        raise UserError(f"{text!r} names no file") from error


def below(base: Url, name: str) -> Url:
    """The file called ``name`` below ``base``; SampleError if that is, or might be decoded to be, anywhere else.

    A name may be a whole address below the base. Windows' separators are taken for "/".
    """
    if name.startswith(f"{base.base}/"):
        name = name.removeprefix(f"{base.base}/")
        name = unquote(name) if on_web(base) else name
    plain, decoded = name.replace("\\", "/"), _decoded(name)
    inside = (
        decoded is not None
        and decoded.isprintable()
        and not plain.startswith("/")
        and not is_url(decoded)
        and not PureWindowsPath(decoded).drive
        and ".." not in decoded.replace("\\", "/").split("/")
    )
    kept = [part for part in plain.split("/") if part not in ("", ".")]
    if not inside or not kept:
        raise SampleError(f"image path {name!r} leaves the image root {str(base)!r}, or names no file")
    return Url(base.base, "/".join(kept))


def _decoded(name: str) -> str | None:
    """A name after all the decodings that servers may do to it; None if there is no end to them."""
    for _ in range(MOST_DECODINGS):
        decoded = unquote(name)
        if decoded == name:
            return name
        name = decoded
    return None


def read(url: Url, start: int, size: int) -> bytes:
    """At most ``size`` bytes of a file, from ``start`` on. SampleError if it can't be read."""
    return _tried(url, lambda: _read(url, start, size))


def _read(url: Url, start: int, size: int) -> bytes:
    system = file_system(url)
    if not on_web(url):
        return bytes(system.cat_file(url.address, start=start, end=start + size))
    # one request, whose answer is read no further than wanted, however long it is
    ranged = {"headers": {"Range": f"bytes={start}-{start + size - 1}"}}
    with system.open(url.address, "rb", block_size=0, size=size, **ranged) as stream:
        chunks, left = [], size
        while left and (chunk := stream.read(min(left, _CHUNK))):
            chunks.append(chunk)
            left -= len(chunk)
    return b"".join(chunks)


@contextmanager
def streaming(url: Url) -> Iterator[IO[bytes]]:
    """A file to be read from beginning to end. SampleError if it can't be opened."""
    system = file_system(url)
    web = {"block_size": 0, "size": 1} if on_web(url) else {}
    with _tried(url, lambda: system.open(url.address, "rb", **web)) as stream:
        yield stream


def listed(base: Url) -> list[Url]:
    """All files below a base, in no particular order. UserError if they can't be told.

    Web servers must answer with a page that links them; what is linked elsewhere is left out, and not looked at.
    """
    system = file_system(base)
    try:
        if on_web(base):
            return list(_linked(system, base))
        root = system._strip_protocol(base.base).rstrip("/") + "/"
        found = _tried(base, lambda: system.find(base.base))
        return list(_admitted(base, (str(path).removeprefix(root) for path in found)))
    except SampleError as error:
        raise UserError(f"what lies below {base} can't be listed: {error}") from error


def _linked(system: Any, base: Url) -> Iterator[Url]:
    """What the pages of a web server link, folder by folder."""
    folders, seen = [base], {base}
    while folders:
        folder = folders.pop()
        page = f"{folder.address}/"
        links = _tried(folder, partial(system.ls, page, detail=False))
        names = {unquote(link.removeprefix(page)).strip("/"): link.endswith("/") for link in links}
        start = f"{folder.name}/" if folder.name else ""
        for url in _admitted(base, (start + name for name in names)):
            if not names[url.name.removeprefix(start)]:
                yield url
            elif url not in seen:
                seen.add(url)
                folders.append(url)


def _admitted(base: Url, names: Iterable[str]) -> Iterator[Url]:
    """The names that are below the base as they stand."""
    for name in names:
        with suppress(SampleError):
            if (url := below(base, name)).name == name:
                yield url


def _tried(url: Url, action: Callable[[], T]) -> T:
    """What the action returns, in one of a few attempts; else SampleError naming the address."""
    wait = WAIT
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except (UserError, SampleError):
            raise
        except _FINAL as error:
            reason = "it does not exist" if isinstance(error, FileNotFoundError) else reason_of(error)
            raise SampleError(f"{url} can't be read: {reason}") from error
        except Exception as error:  # each of fsspec's file systems raises its own library's
            if attempt == ATTEMPTS - 1 or getattr(error, "status", None) in _REFUSALS:
                raise SampleError(f"{url} can't be read: {reason_of(error)}") from error
        time.sleep(wait)
        wait *= 2
    raise AssertionError("the last attempt returns or raises")


def file_system(url: Url) -> Any:
    """fsspec's file system of an address. UserError naming the package that is missing for it."""
    scheme = url.base.partition("://")[0]
    return _web(url.base, os.getpid()) if scheme in _WEB else _file_system(scheme, url.base)


def _file_system(scheme: str, text: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme) if scheme in _WEB else fsspec.filesystem(scheme)
    except ImportError as error:
        package = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}.get(scheme, "aiohttp")
        raise UserError(f"{text!r} needs a package that is missing: pip install {package}") from error


@lru_cache(maxsize=16)
def _web(base: str, process: int) -> Any:
    """The file system of one base: a session that goes nowhere else, of one process (they can't be inherited)."""
    import aiohttp
    import fsspec

    timeout = aiohttp.ClientTimeout(sock_connect=SECONDS, sock_read=SECONDS)
    context: Any = partial(SimpleNamespace, base=base)
    guard = aiohttp.TraceConfig(context)
    guard.on_request_redirect.append(_redirected)
    guard.on_request_end.append(_answered)
    return fsspec.filesystem(
        base.partition("://")[0],
        encoded=True,  # names are quoted already, and must not be decoded on the way
        simple_links=False,
        skip_instance_cache=True,
        client_kwargs={"trace_configs": [guard], "timeout": timeout},
    )


async def _redirected(_session: Any, context: Any, asked: Any) -> None:
    """SampleError, before anything is asked for there, if a server sends us out of the base."""
    url = type(asked.url)
    base, location = url(context.base), asked.response.headers.get("Location", asked.response.headers.get("URI", ""))
    target = asked.url.join(url(location))
    path = _decoded(target.raw_path)
    inside = path is not None and path.startswith(f"{unquote(base.raw_path).rstrip('/')}/")
    if not inside or target.origin() != base.origin() or ".." in (path or "").replace("\\", "/").split("/"):
        raise SampleError(f"{asked.url} is redirected out of {context.base}, to {target.with_query(None)}")


async def _answered(_session: Any, _context: Any, asked: Any) -> None:
    """SampleError if a whole file comes where a part from its middle was wanted."""
    wanted = asked.headers.get("Range", "bytes=0-")
    if asked.response.status == HTTPStatus.OK and not wanted.startswith("bytes=0-"):
        raise SampleError(f"the server of {asked.url} gives whole files only, and a part of one is wanted")
