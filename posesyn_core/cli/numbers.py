"""Numbers on the command line: finite and above 0, or a sentence."""

import math

import click


class Positive(click.ParamType):
    """A finite number above 0."""

    name = "number"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click; NaN and infinity are no numbers here."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"{value!r} is not a number above 0", param, ctx)
        return number


class Positives(click.ParamType):
    """Several of them, with commas between."""

    name = "numbers"

    def convert(
        self, value: str | list[float], param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        """See click."""
        if not isinstance(value, str):
            return value
        return [Positive().convert(part, param, ctx) for part in value.split(",")]
