"""``posesyn view``: a run's report, live."""

import errno
import webbrowser
from pathlib import Path

import click

from posesyn_core.errors import UserError
from posesyn_core.registry import Registry


@click.command(short_help="Show a run's report in the browser, up to date while the run goes on.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8018, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--no-browser", is_flag=True, help="Only print the address; open no browser.")
@click.pass_obj
def view(registry: Registry, folder: Path, port: int, no_browser: bool) -> None:
    """Serve the report of RUN on this machine and open it. It follows the run; Ctrl+C ends it.

    Other machines can't reach it. From a server, forward the port: ssh -L 8018:localhost:8018 SERVER

    \b
    posesyn view runs/demo
    posesyn view runs/demo --port 0 --no-browser
    """
    from posesyn_core.pipeline.run import open_run
    from posesyn_core.report.serving import server

    run = open_run(folder, registry)
    try:
        serving = server(run, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UserError(f"port {port} is in use; choose another with --port, or --port 0") from error
    address = f"http://localhost:{serving.server_address[1]}/"
    click.echo(f"{folder} at {address} (Ctrl+C ends it)")
    if not no_browser:
        webbrowser.open(address)
    with serving:
        serving.serve_forever()
