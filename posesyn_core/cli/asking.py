"""Questions to the user, where there is one."""

import sys

import click

from posesyn_core.errors import UserError


def confirm(question: str, otherwise: str) -> None:
    """Go on if the user says yes; UserError if not, which says what to do ``otherwise`` without a terminal."""
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody can be asked here: {otherwise}")
    if not click.confirm(question):
        raise UserError("nothing was done")
