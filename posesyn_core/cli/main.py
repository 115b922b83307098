"""The ``posesyn`` command: builds the group, lets plugins add to it, turns errors into sentences."""

import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence

import click

from posesyn_core.cli import (
    checking,
    compare,
    doctor,
    engine,
    experiment,
    fidelity,
    keeping,
    new,
    plugins,
    predict,
    preview,
    running,
    sweep,
    taking,
    view,
    weights,
)
from posesyn_core.errors import NothingLeft, PoseSynError, PoseSynWarning
from posesyn_core.registry import Registry

_DISK = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not become so large here (see `ulimit -f`)",
    errno.EIO: "a file could not be written",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
@click.version_option(package_name="posesyn")
def cli(debug: bool) -> None:
    """Find the images on which your 3D pose estimator fails, and turn them into training data for it.

    \b
    Start here:
      posesyn demo                  the whole loop with free components, in minutes
      posesyn run PHOTOS            the whole loop on a folder of photographs
      posesyn run RECIPE            the whole loop on a data set
      posesyn resume RUN            continue an interrupted run
      posesyn check RECIPE          what a run needs and this machine lacks
      posesyn predict PATH...       the poses that an estimator finds in pictures and videos
      posesyn view RUN              its report in the browser, live
      posesyn preview RUN           a run's clips beside their guidance maps
      posesyn export-motion RUN     its motions for Blender and others
      posesyn doctor                what this machine has and what it lacks
      posesyn plugins               what is installed and what it needs
      posesyn new KIND NAME         a template for a plugin of your own

    A run is a folder. Each stage is also a command of its own (score, select, caption, synthesize, animate, filter,
    export, finetune, evaluate, report), and an interrupted run continues where it stopped.
    """


cli.add_command(running.run)
cli.add_command(running.resume)
for _command in running.stage_commands():
    cli.add_command(_command)
cli.add_command(checking.check)
cli.add_command(doctor.doctor)
cli.add_command(engine.engine)
cli.add_command(compare.compare)
cli.add_command(experiment.experiment)
cli.add_command(fidelity.fidelity)
cli.add_command(new.new)
cli.add_command(plugins.plugins)
cli.add_command(predict.predict)
cli.add_command(preview.preview)
cli.add_command(keeping.superseded)
cli.add_command(sweep.sweep)
cli.add_command(taking.export_fiftyone)
cli.add_command(taking.export_motion)
cli.add_command(view.view)
cli.add_command(weights.weights)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits with 0, 1 (nothing left, or a bug), 2 (mistake) or 130 (interrupted)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads leave the cores to those that read
    for stream in (sys.stdout, sys.stderr):  # a terminal or pipe that knows ASCII or Windows' letters alone
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    warnings.formatwarning = _warning_text
    try:
        registry = Registry.discover()
        registry.add_commands(cli)
        cli.main(arguments, prog_name="posesyn", standalone_mode=False, obj=registry)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # not the user's: click takes any for a closed terminal
            if debug:
                raise
            _say(f"a file ends before it should ({error.__cause__ or 'EOF'}); --debug shows where it is read")
            sys.exit(2)
        _say("interrupted; run the same command again to continue")
        sys.exit(130)
    except NothingLeft as error:
        _say(str(error))
        sys.exit(1)
    except (PoseSynError, OSError) as error:
        if debug:
            raise
        sentence = _sentence(error)
        if sentence is None:
            raise
        _say(sentence)
        sys.exit(2)


def _sentence(error: Exception) -> str | None:
    """What to tell the user; None for an error that is not theirs to mend."""
    if isinstance(error, PoseSynError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" for {error.filename!r}" if error.filename else ""
        return f"{_DISK[error.errno]}{where}; fix that and run the same command again: finished work is kept"
    if isinstance(error, OSError) and error.errno and error.filename:  # something else stands where a file belongs
        return f"{str(error.filename)!r} can't be used: {error.strerror}; move it out of the way, or check the path"
    return None


_python_warning_text = warnings.formatwarning


def _warning_text(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Ours are sentences for the user; others keep the place that Python names."""
    if issubclass(category, PoseSynWarning):
        return f"posesyn: warning: {message}\n"
    return _python_warning_text(message, category, filename, lineno, line)


def _say(sentence: str) -> None:
    click.secho(f"posesyn: {sentence}", err=True, fg="red")
