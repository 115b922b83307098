"""Ranges of options: every numeric one has one, and nothing outside it gets into a config."""

import typing
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posesyn_core import UserError, option
from posesyn_core.components import Kind
from posesyn_core.contracts.options import ENOUGH, RANGE, OptionError, Range, is_numeric
from posesyn_core.recipe import Recipe, parse_recipe, structure
from posesyn_core.registry import Registry
from posesyn_t2mgpt.config import TransformerOptions, VqOptions


def fields(*classes: type) -> Iterator[tuple[str, Any, Any]]:
    """(class.field, type, attribute) of attrs classes and of those within them."""
    for config in classes:
        hints = typing.get_type_hints(config)
        for attribute in attrs.fields(config):
            if attrs.has(hints[attribute.name]):
                yield from fields(hints[attribute.name])
            yield f"{config.__name__}.{attribute.name}", hints[attribute.name], attribute


def test_every_numeric_option_has_a_range_that_holds_its_default() -> None:
    registry = Registry.discover()
    configs = {r.component.config for kind in Kind for r in registry.of_kind(kind)}
    numeric = [(n, a) for n, kind, a in fields(Recipe, VqOptions, TransformerOptions, *configs) if is_numeric(kind)]
    assert len(numeric) > 100
    assert not [name for name, attribute in numeric if RANGE not in attribute.metadata]


def options_of_all() -> list[tuple[type, str, Any]]:
    """(config, option, type) of every component, and of the recipe's sections."""
    registry = Registry.discover()
    configs = {r.component.config for kind in Kind for r in registry.of_kind(kind)}
    configs |= {kind for _, kind, _ in fields(Recipe) if attrs.has(kind)}
    found = [(c, a.name, typing.get_type_hints(c)[a.name]) for c in configs for a in attrs.fields(c) if a.init]
    return sorted(found, key=lambda option: (option[0].__module__, option[0].__qualname__, option[1]))


OPTIONS = options_of_all()
NUMBERS = st.sampled_from([0, -1, 2**31, 2**63, 10**400, -(10**400), 1e308, float("nan"), float("inf"), float("-inf")])
PLAIN = st.recursive(
    NUMBERS | st.floats() | st.integers() | st.booleans() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def _structured(config: type, name: str, value: Any) -> Any:
    needed = {a.name: "x" for a in attrs.fields(config) if a.default is attrs.NOTHING and a.init}
    return structure({**needed, name: value}, config, "here")


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(OPTIONS), PLAIN)
def test_any_value_of_any_option_gives_a_config_or_a_sentence(option: tuple[type, str, Any], value: Any) -> None:
    config, name, _ = option
    try:
        _structured(config, name, value)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000


@pytest.mark.parametrize(
    "option",
    [pytest.param(o, id=f"{o[0].__name__}.{o[1]}") for o in OPTIONS if o[2] in (int, float, int | None, float | None)],
)
def test_no_number_outside_its_range_gets_in(option: tuple[type, str, Any]) -> None:
    config, name, kind = option
    limits: Range = attrs.fields_dict(config)[name].metadata[RANGE]
    bounds = [bound for bound in (limits.least, limits.above, limits.most, limits.below) if bound is not None]
    step = 1 if kind in (int, int | None) else 1e-3
    for value in (
        float("nan"),
        float("inf"),
        float("-inf"),
        10**400,
        *(b + s for b in bounds for s in (0, step, -step)),
    ):
        number = int(value) if kind in (int, int | None) and abs(value) < 2**63 else value
        if number not in limits:
            with pytest.raises(UserError, match=name):
                _structured(config, name, number)


@frozen
class Config:
    share: float = option(0.5, "a share", least=0, most=1)
    count: int | None = option(None, "how many", above=0)
    pair: tuple[int, int] = option((1, 2), "two", least=1, check=lambda p: "must rise" if p[0] > p[1] else None)
    steps: int | Literal["default"] = option("default", "how long", least=0, below=10)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"share": float("nan")}, "here: 'share' must be at least 0 and at most 1, not nan"),
        ({"share": float("-inf")}, "'share' must be at least 0"),
        ({"share": 1.001}, "not 1.001"),
        ({"share": 10**400}, "'share' must be a number that fits 64 bits"),
        ({"count": 0}, "'count' must be above 0, not 0"),
        ({"count": 10**30}, "'count' must be above 0, not a whole number of 100 bits"),
        ({"pair": [1, 0]}, "'pair' must be at least 1, not 0"),
        ({"pair": [3, 2]}, "'pair' must rise"),
    ],
)
def test_numbers_outside_their_range_are_refused_by_name(options: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        structure(options, Config, "here")


def test_what_is_inside_the_range_and_what_is_no_number_passes() -> None:
    assert structure({"share": 1, "count": 3, "pair": [2, 2]}, Config, "here") == Config(1.0, 3, (2, 2))
    with pytest.raises(OptionError, match="share must be at least 0 and at most 1, not 2"):
        Config(share=2)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("finetune.ratio=-1", "'finetune.ratio' must be at least 0 and at most 1, not -1"),
        ("finetune.steps=-1", "'finetune.steps' must be at least 0, not -1"),
        (
            "animate.references_per_motion=-1",
            "'animate.references_per_motion' must be at least 1 and at most 1,000,000, not -1",
        ),
        ("animate.max_residual_mm=nan", "'animate.max_residual_mm' must be above 0, not nan"),
        ("machine.workers=0", "'machine.workers' must be at least 1"),
        ("synthesize.min_frames=200", "'synthesize.min_frames' must be at most max_frames = 196, not 200"),
        ("estimator.engine.tolerance=inf", "tolerance' must be above 0, not inf"),
        ("score.hard=" + "9" * 5000, "'score.hard' must be an int"),
    ],
)
def test_recipes_are_refused_by_key(setting: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse_recipe('dataset = "x"', [setting])


def test_ranges_read_as_a_sentence() -> None:
    assert str(Range(least=0, below=1)) == "at least 0 and below 1"
    assert str(Range(above=0)) == "above 0"


@pytest.mark.parametrize(
    "option", [pytest.param(o, id=f"{o[0].__name__}.{o[1]}") for o in OPTIONS if is_numeric(o[2]) and o[1] != "seed"]
)
def test_no_option_is_absurdly_large(option: tuple[type, str, Any]) -> None:
    config, name, kind = option
    attribute = attrs.fields_dict(config)[name]
    assert attribute.validator is not None
    with pytest.raises(OptionError, match=name):
        attribute.validator(None, attribute, ENOUGH + 1)
    if kind in (int, float):
        with pytest.raises(UserError, match=name):
            _structured(config, name, ENOUGH + 1)


def test_a_slip_of_the_finger_is_refused() -> None:
    with pytest.raises(UserError, match=r"finetune\.steps' must be no more than 1,000,000,000 in size"):
        parse_recipe('dataset = "x"', ["finetune.steps=10000000000"])
    assert parse_recipe('dataset = "x"', [f"seed={2**62}"]).seed == 2**62
