"""The live report: up to date, for this machine alone, and nothing but the report."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from click.testing import CliRunner

from posesyn_core.cli.view import view
from posesyn_core.errors import UserError
from posesyn_core.pipeline.run import Run
from posesyn_core.report.page import write_report
from posesyn_core.report.serving import HOST, Live, server

MakeRun = Callable[..., Run]
Ask = Callable[..., tuple[int, str, bytes]]


@contextmanager
def served(run: Run) -> Iterator[Ask]:
    with server(run) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def ask(path: str, host: str = "localhost") -> tuple[int, str, bytes]:
            connection = http.client.HTTPConnection(HOST, serving.server_address[1], timeout=30)
            connection.request("GET", path, headers={"Host": f"{host}:{serving.server_address[1]}"})
            answer = connection.getresponse()
            found = answer.status, answer.getheader("Content-Type") or "", answer.read()
            connection.close()
            return found

        try:
            yield ask
        finally:
            serving.shutdown()
            thread.join()


def test_an_open_page_is_not_written_again_and_again(make_run: MakeRun) -> None:
    run = make_run("score")
    live = Live(run)
    live.page()
    state, live.rested = live.state(), time.monotonic() + 60
    make_run("filter")
    assert live.state() != state and live.told() == state
    live.rested = 0.0
    assert live.told() == live.state()


def test_runs_in_the_run_folder_are_served_as_far_as_the_page_shows_them(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posesyn_core.report.serving.REST", 0.0)
    outer, inner = make_run(), make_run("filter", name="run/photographs")
    frame = next(iter(inner.frames.values())).frame.image
    with served(outer) as ask:
        state = ask("/state")[2]
        assert ask("/")[0] == 200 and ask("/photographs/report.html")[0] == 404
        write_report(inner)
        assert "A run" in ask("/photographs/report.html")[2].decode()
        assert ask(f"/{frame.relative_to(outer.folder)}")[0] == 200
        for hidden in ("photographs/recipe.toml", "photographs/photographs/report.html", "report.html/report.html"):
            assert ask(f"/{hidden}")[0] == 404
        inner.finish("evaluate", {"variants": {}})
        assert ask("/state")[2] != state


def test_the_page_follows_the_run(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posesyn_core.report.serving.REST", 0.0)
    run = make_run("score")
    with served(run) as ask:
        before, state = ask("/")[2].decode(), json.loads(ask("/state")[2])
        assert "The stage select has not run yet" in before and "location.reload" in before
        assert json.loads(ask("/state")[2]) == state
        later = make_run("filter")  # the same folder
        assert later.folder == run.folder and json.loads(ask("/state")[2]) != state
        after = ask("/report.html")[2].decode()
        assert "The stage select has not run yet" not in after and "3 of 6 frames kept" in after


def test_what_the_page_shows_is_served_and_nothing_else(make_run: MakeRun) -> None:
    run = make_run("filter")
    with served(run) as ask:
        assert ask("/")[:2] == (200, "text/html; charset=utf-8")
        assert ask("/animate/frames/0/0000.jpg")[:2] == (200, "image/jpeg")
        large = next((run.folder / "report.files").glob("*.jpg"))
        assert ask(f"/report.files/{large.name}")[2] == large.read_bytes()
        for path in ("/recipe.toml", "/score/000000.parquet", "/animate/done.json", "/../photo0.jpg",
                     "/animate/../../photo0.jpg", "/animate/%2e%2e/%2e%2e/photo0.jpg", "/report.files/"):  # fmt: skip
            assert ask(path)[0] == 404, path
        (run.folder / "report.files" / "link.jpg").symlink_to(run.folder.parent / "photo0.jpg")
        assert ask("/report.files/link.jpg")[0] == 404


def test_other_names_than_this_machines_are_refused(make_run: MakeRun) -> None:
    with served(make_run("score")) as ask:
        assert ask("/", host="evil.example")[0] == 403
        assert ask("/", host=HOST)[0] == 200


def test_it_listens_on_this_machine_alone(make_run: MakeRun) -> None:
    with server(make_run("score")) as serving:
        assert serving.server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_told(make_run: MakeRun) -> None:
    run = make_run("score")
    with server(run) as serving:
        arguments = [str(run.folder), "--no-browser", "--port", str(serving.server_address[1])]
        result = CliRunner().invoke(view, arguments, obj=run.registry)
        assert isinstance(result.exception, UserError) and "--port 0" in str(result.exception)
