"""A web server of this machine for tests: a folder's files, and answers that servers should not give."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from attrs import define, field


@define
class Web:
    """``base`` is its address; ``asked`` are the paths that were asked for. ``odd`` answers some paths by itself."""

    base: str
    asked: list[str] = field(factory=list)
    odd: dict[str, Callable[[SimpleHTTPRequestHandler], None]] = field(factory=dict)
    ranges: bool = True


@contextmanager
def serving(folder: Path) -> Iterator[Web]:
    """Serve a folder."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type, misc]

        def do_GET(self) -> None:
            web.asked.append(self.path)
            path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
            if self.path in web.odd:
                web.odd[self.path](self)
            elif web.ranges and wanted and path.is_file():
                first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
                part = path.read_bytes()[first : last + 1]
                self.send_response(206)
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                self.wfile.write(part)
            else:
                super().do_GET()

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web = Web(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


def redirect(target: str) -> Callable[[SimpleHTTPRequestHandler], None]:
    """Sends whoever asks to another place."""

    def answer(handler: SimpleHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def failing(status: int, times: int) -> Callable[[SimpleHTTPRequestHandler], None]:
    """Fails some times, then serves."""
    left = [times]

    def answer(handler: SimpleHTTPRequestHandler) -> None:
        left[0] -= 1
        if left[0] >= 0:
            handler.send_error(status)
        else:
            SimpleHTTPRequestHandler.do_GET(handler)

    return answer
