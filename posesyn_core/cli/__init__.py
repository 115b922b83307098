"""The command line. It holds no logic: each command calls a function that Python users call too."""

from posesyn_core.cli.main import main

__all__ = ["main"]
