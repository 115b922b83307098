"""A run's report served live on this machine: ``posesyn view RUN``.

The page is written anew when the run has changed since it was last asked for, and an open page loads itself again then.
Only this machine is served (127.0.0.1), and only the page and what it shows: its own files and the synthesised frames.
"""

import http.server
import json
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from threading import Lock
from urllib.parse import unquote, urlsplit

from attrs import Factory, define

from posesyn_core.errors import PoseSynError
from posesyn_core.pipeline.order import STAGES
from posesyn_core.pipeline.run import Run
from posesyn_core.report.large import FILES
from posesyn_core.report.page import write_report
from posesyn_core.report.within import PAGE, folders

HOST = "127.0.0.1"
STATE = "/state"
SERVED = {FILES: {".jpg", ".js"}, "animate": {".jpg", ".png"}, PAGE: {".html"}}
"""What of the run folder, and of those of runs in it, is served: the page, folders, and suffixes of files in these."""
TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".js": "text/javascript", ".html": "text/html; charset=utf-8"}
SECONDS, REST = 5, 4.0
"""How often an open page asks, and how many times as long as a page takes to write no other is wanted."""
RELOAD = f"""<script>(() => {{
  const state = () => fetch("{STATE}").then((answer) => answer.json());
  const open = () => document.getElementById("large").open;
  state().then((first) => setInterval(() => state().then((now) => now === first || open() || location.reload())
    .catch(() => {{}}), {1000 * SECONDS}));
}})();</script></body>"""


@define
class Live:
    """A run whose page is kept up to date."""

    run: Run
    shown: str = ""
    rested: float = 0.0
    lock: Lock = Factory(Lock)

    def told(self) -> str:
        """The state that open pages compare with; it stays for a while after a page that took long to write."""
        return self.shown if self.shown and time.monotonic() < self.rested else self.state()

    def state(self) -> str:
        """What changes whenever a stage has written something."""
        runs = (self.run.folder, *folders(self.run))
        books = (path for run in runs for stage in STAGES for path in (run / stage).glob("*") if path.is_file())
        return str(max(((path.stat().st_mtime_ns, str(path)) for path in books), default=""))

    def page(self) -> bytes:
        """The page as the run is now."""
        with self.lock:
            state, path = self.state(), self.run.folder / PAGE
            if state != self.shown or not path.exists():
                begun = time.monotonic()
                path, self.shown = write_report(self.run), state
                self.rested = time.monotonic() + REST * (time.monotonic() - begun)
            return path.read_text(encoding="utf-8").replace("</body>", RELOAD).encode()

    def file(self, name: str) -> Path | None:
        """The file of that path on the page, if it is one that is served."""
        parts = PurePosixPath(name).parts
        path = self.run.folder.joinpath(*parts)
        inner = parts[1:] if len(parts) > 1 and parts[0] in {folder.name for folder in folders(self.run)} else ()
        allowed = parts and ".." not in parts and path.suffix in SERVED.get((inner or parts)[0], ())
        inside = allowed and path.resolve().is_relative_to(self.run.folder.resolve())
        return path if inside and path.is_file() else None


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a browser on this machine."""

    def __init__(self, live: Live, *arguments: object) -> None:
        self.live = live
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send the page, its state, or a file of it."""
        name = unquote(urlsplit(self.path).path)
        if not self._asked_here():
            self.send_error(HTTPStatus.FORBIDDEN, "only this machine is served")
        elif name == STATE:
            self._send(json.dumps(self.live.told()).encode(), "application/json")
        elif name in ("/", f"/{PAGE}"):
            try:
                self._send(self.live.page(), TYPES[".html"])
            except PoseSynError as error:
                self._send(f"posesyn: {error}".encode(), "text/plain; charset=utf-8", HTTPStatus.CONFLICT)
        elif (path := self.live.file(name.lstrip("/"))) is not None:
            self._send(path.read_bytes(), TYPES[path.suffix])
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "the report has no such file")

    def _asked_here(self) -> bool:
        """Whether the browser asked by this machine's name: pages of others can't read the run through it."""
        return (self.headers.get("Host") or "").rpartition(":")[0] in (HOST, "localhost")

    def _send(self, data: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is told of single requests."""


def server(run: Run, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of the run's report; ``port`` 0 takes a free one. OSError if the port is taken."""
    handler: Callable[..., Handler] = partial(Handler, Live(run))
    return http.server.ThreadingHTTPServer((HOST, port), handler)
