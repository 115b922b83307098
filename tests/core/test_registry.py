"""The plugin manager: origins, conflicts, failures, readiness."""

import ast
import importlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from attrs import frozen

from posesyn_core import Component, JointSet, Kind, Need, UserError, hookimpl, hookspecs, option
from posesyn_core.components import Captioner
from posesyn_core.contracts.products import declared
from posesyn_core.geometry import skeletons
from posesyn_core.registry import Origin, Registry


@frozen
class Config:
    step: int = option(1, "how far")


class Echo:
    """A captioner that repeats its step."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def caption(self, samples: list, estimates: list) -> list[str]:
        return [str(self.config.step)] * len(samples)


def plugin(name: str, factory: object = Echo, **kwargs: object) -> SimpleNamespace:
    @hookimpl
    def register_captioners() -> list[Component]:
        return [Component(Kind.CAPTIONER, name, "Repeats", factory, Config, **kwargs)]  # type: ignore[arg-type]

    return SimpleNamespace(register_captioners=register_captioners)


def registry(*plugins: SimpleNamespace) -> Registry:
    made = Registry.empty()
    for number, module in enumerate(plugins):
        made.add(module, Origin(f"plugin{number}", f"dist-{number}", f"{number}.0"))
    return made


def test_a_component_is_made_from_its_options() -> None:
    made = registry(plugin("echo")).create(Kind.CAPTIONER, "echo", {"step": 3}, "here")
    assert made.caption([1, 2], []) == ["3", "3"]


def test_unknown_option_and_unknown_name_suggest_the_nearest() -> None:
    with pytest.raises(UserError, match="here: unknown key 'stepp'; did you mean 'step'"):
        registry(plugin("echo")).create(Kind.CAPTIONER, "echo", {"stepp": 3}, "here")
    with pytest.raises(UserError, match="no captioner named 'ehco' is installed; did you mean 'echo'"):
        registry(plugin("echo")).find(Kind.CAPTIONER, "ehco")


def test_a_name_that_no_plugin_brings_names_the_plugin_to_install() -> None:
    with pytest.raises(UserError, match=r"no animator named 'anerf'.*posesyn_anerf"):
        registry(plugin("echo")).find(Kind.ANIMATOR, "anerf")


def test_two_plugins_with_one_name_are_both_named() -> None:
    with pytest.raises(UserError, match=r"captioner 'echo': dist-0 0\.0 and dist-1 1\.0"):
        registry(plugin("echo"), plugin("echo")).find(Kind.CAPTIONER, "echo")


def test_a_plugin_whose_hook_raises_is_reported_and_the_rest_works() -> None:
    @hookimpl
    def register_captioners() -> list[Component]:
        raise RuntimeError("no luck")

    made = registry(plugin("echo"), SimpleNamespace(register_captioners=register_captioners))
    assert [r.component.name for r in made.of_kind(Kind.CAPTIONER)] == ["echo"]
    assert "no luck" in next(iter(made.failures.values()))


def test_missing_needs_come_with_their_remedy() -> None:
    need = Need("the module nowhere", "pip install nowhere", modules=("posesyn_nowhere",))
    made = registry(plugin("echo", needs=(need,)))
    assert made.find(Kind.CAPTIONER, "echo").missing == (need,)
    with pytest.raises(UserError, match=r"lacks the module nowhere \(pip install nowhere\)"):
        made.create(Kind.CAPTIONER, "echo", {}, "here")


def test_a_product_that_misses_its_protocol_is_refused() -> None:
    with pytest.raises(UserError, match="does not fit the protocol Captioner"):
        registry(plugin("echo", factory=lambda config: object())).create(Kind.CAPTIONER, "echo", {}, "here")


def hooks(**implementations: object) -> SimpleNamespace:
    """A plugin of these hooks, each returning what is given."""

    def hook(returned: object) -> Callable[[], object]:
        return hookimpl(lambda: returned)

    return SimpleNamespace(**{name: hook(returned) for name, returned in implementations.items()})


def component(kind: Kind, factory: object, name: str = "mine") -> Component:
    return Component(kind, name, "Mine", factory, Config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        (None, "register_captioners returned None where a list of Component is needed"),
        (["echo"], "register_captioners: returned a str where a Component is needed"),
        ([component(Kind.MOTION, Echo)], "'mine', whose kind is 'motion', where a captioner is needed"),
        ([Component(Kind.CAPTIONER, "mine", "", Echo, dict)], "the config of 'mine' is no attrs class"),
        ([component(Kind.CAPTIONER, "Echo")], "the factory of 'mine' can't be called"),
        ([component(Kind.CAPTIONER, Echo, "")], "a component's name is ''"),
    ],
)
def test_a_hook_that_returns_the_wrong_thing_is_reported_and_the_rest_works(returned: object, fault: str) -> None:
    made = registry(plugin("echo"), hooks(register_captioners=returned))
    assert [r.component.name for r in made.of_kind(Kind.CAPTIONER)] == ["echo"]
    assert fault in made.failures["plugin1 (dist-1 1.0)"]


def test_a_hook_of_an_unknown_name_is_reported_with_the_nearest() -> None:
    made = registry(hooks(register_captioner=[]))
    assert "no hook 'register_captioner'; 'register_captioners' may be meant" in made.failures["plugin0 (dist-0 0.0)"]


def test_a_component_that_is_not_found_names_the_plugins_that_fail() -> None:
    made = registry(plugin("echo"), hooks(register_captioners=None))
    with pytest.raises(UserError, match=r"no captioner named 'mine'.*mend the plugin plugin1 \(dist-1 1.0\), which"):
        made.create(Kind.CAPTIONER, "mine", {}, "here")


def test_a_factory_whose_import_fails_names_plugin_and_module() -> None:
    def factory(config: Config) -> object:
        return importlib.import_module("posesyn_nowhere.captioner")

    with pytest.raises(UserError, match=r"captioner 'echo' of dist-0 0\.0 can't be imported: No module named"):
        registry(plugin("echo", factory=factory)).create(Kind.CAPTIONER, "echo", {}, "here")


def raising(*_: object, **__: object) -> None:
    raise KeyError("boom")


def test_a_factory_that_fails_names_its_plugin() -> None:
    with pytest.raises(UserError, match=r"captioner 'echo' of dist-0 0\.0 can't be made: KeyError: the key 'boom'"):
        registry(plugin("echo", factory=raising)).create(Kind.CAPTIONER, "echo", {}, "here")


@pytest.mark.parametrize("lacks", [raising, lambda config: None, lambda config: [3]])
def test_a_component_that_can_not_say_what_it_lacks_is_named(lacks: object) -> None:
    with pytest.raises(UserError, match=r"captioner 'echo' of dist-0 0\.0 can't say what it lacks: (Key|Type)Error"):
        list(registry(plugin("echo", lacks=lacks)).lacks(Kind.CAPTIONER, "echo", {}, "here"))


@pytest.mark.parametrize("returned", [3, None, raising])
def test_named_things_of_a_broken_hook_are_reported_and_the_rest_is_there(returned: object) -> None:
    broken = SimpleNamespace(register_worlds=hookimpl(returned if callable(returned) else lambda: returned))
    made = registry(hooks(register_worlds={"flat": 1}), broken)
    assert made.gathered("register_worlds") == {"flat": 1}
    assert "register_worlds" in made.failures["plugin1 (dist-1 1.0)"]


def test_a_hook_that_fails_when_it_is_told_something_is_named(tmp_path: Path) -> None:
    @hookimpl
    def stage_started(run: Path, stage: str) -> None:
        raise KeyError("boom")

    made = registry(hooks(register_captioners=[]), SimpleNamespace(stage_started=stage_started))
    with pytest.raises(UserError, match=r"hook 'stage_started' of the plugin dist-1 1\.0 fails: KeyError"):
        made.notify("stage_started", run=tmp_path, stage="score")


def test_a_plugin_whose_commands_fail_leaves_those_of_others() -> None:
    added: list[object] = []

    @hookimpl
    def register_commands(cli: object) -> None:
        added.append(cli)

    broken = SimpleNamespace(register_commands=hookimpl(lambda cli: raising()))
    made = registry(broken, SimpleNamespace(register_commands=register_commands))
    made.add_commands("cli")
    assert added == ["cli"] and "boom" in made.failures["plugin0 (dist-0 0.0)"]


class Frozen:
    """The least estimator in one piece."""

    def predict(self, samples: list) -> list:
        return []


def product(**attributes: object) -> object:
    return type("Product", (Frozen,), attributes)()


@pytest.mark.parametrize(
    ("kind", "made", "fault"),
    [
        (Kind.ESTIMATOR, product(training_default=1), "'training_default', which seems to mean 'training_defaults'"),
        (Kind.ESTIMATOR, product(reinitialize=1), "'reinitialize', which seems to mean 'reinitialise'"),
        (Kind.ESTIMATOR, product(keep_fp32="head"), r"keep_fp32 that is 'head', where tuple\[str, ...\] is needed"),
        (Kind.ESTIMATOR, product(training_defaults={"steps": 1}), "where TrainingDefaults is needed"),
        (Kind.ESTIMATOR, product(reinitialise=True), "reinitialise that is True, where a method is needed"),
        (Kind.ESTIMATOR, product(predict=lambda self: []), r"predict that can't be called with \(samples\)"),
        (Kind.ESTIMATOR, type("Other", (), {"predicts": 1})(), "lacks predict .'predicts' seems to mean 'predict'"),
        (Kind.ANIMATOR, object(), "is an object and lacks animate; an animator needs animate"),
        (Kind.MOTION, {}, "MotionGenerator: it is a dict and lacks generate"),
    ],
)
def test_products_are_held_against_what_their_kind_declares(kind: Kind, made: object, fault: str) -> None:
    found = registry(hooks(**{kind.hook: [component(kind, lambda config: made)]}))
    with pytest.raises(UserError, match=f"the {kind} 'mine' of dist-0 0.0 .*{fault}"):
        found.create(kind, "mine", {}, "here")


def test_names_that_mean_something_else_are_left_alone() -> None:
    """``network`` is nearly ``networks`` of Accelerated, but no animator without ``use`` has that."""
    animator = type("Animator", (), {"animate": lambda self, plan: iter(()), "network": None, "guidance": ("depth",)})
    found = registry(hooks(register_animators=[component(Kind.ANIMATOR, lambda config: animator())]))
    assert found.create(Kind.ANIMATOR, "mine", {}, "here").guidance == ("depth",)


def test_every_kind_has_its_hook_and_every_hook_of_components_its_kind() -> None:
    specified = {name for name, hook in vars(hookspecs).items() if hasattr(hook, "posesyn_spec")}
    of_components = {n for n in specified if "Component" in str(getattr(hookspecs, n).__annotations__.get("return"))}
    assert {kind.hook for kind in Kind} == of_components


def test_what_the_core_looks_for_in_a_component_is_declared() -> None:
    """Every ``getattr`` and ``hasattr`` on a component asks for a name of its kind's protocols."""
    known = {name for kind in Kind for name in declared(kind)}
    components = {"estimator", "animator", "reader", "captioner", "generator", "writer", "component", "made", "product"}
    asked = set()
    for path in (Path(__file__).parents[2] / "posesyn_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
                owner, name = ast.unparse(node.args[0]).split(".")[-1], node.args[1]
                if owner in components and isinstance(name, ast.Constant):
                    asked.add(name.value)
    assert len(asked) > 5 and asked <= known


def test_a_plugin_that_cannot_be_imported_is_named_where_it_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = importlib.metadata.EntryPoint("mine", "posesyn_nowhere.plugin", "posesyn")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    found = Registry.discover()
    assert "ModuleNotFoundError: No module named 'posesyn_nowhere'" in next(iter(found.failures.values()))
    with pytest.raises(UserError, match=r"no estimator named 'mine'.*mend the plugin mine \(unknown.*posesyn_nowhere"):
        found.create(Kind.ESTIMATOR, "mine", {}, "here")


def test_bundled_plugins_are_found_through_their_entry_points() -> None:
    found = Registry.discover()
    assert not found.failures
    assert found.find(Kind.ENGINE, "torch").origin.distribution == "posesyn"
    for kind, name in ((Kind.ESTIMATOR, "spin"), (Kind.MOTION, "t2mgpt"), (Kind.ANIMATOR, "reprojection")):
        assert not found.find(kind, name).missing


@frozen
class Pair:
    first: Captioner | None = option(None, "a captioner of its own")


def pairs() -> Registry:
    """A plugin whose captioner takes another captioner as an option and hands on what that one says."""

    @hookimpl
    def register_captioners() -> list[Component]:
        return [Component(Kind.CAPTIONER, "pair", "Hands on", lambda config: config.first or Echo(Config(0)), Pair)]

    return registry(plugin("echo"), SimpleNamespace(register_captioners=register_captioners))


@pytest.mark.parametrize(
    ("options", "said"), [({}, "0"), ({"first": "echo"}, "1"), ({"first": {"name": "echo", "step": 7}}, "7")]
)
def test_an_option_may_be_another_component_by_name(options: dict, said: str) -> None:
    assert pairs().create(Kind.CAPTIONER, "pair", options, "here").caption([1], []) == [said]


@pytest.mark.parametrize(
    ("first", "complaint"),
    [
        ("ehco", "no captioner named 'ehco'.*did you mean 'echo'"),
        ({"name": "echo", "stepp": 1}, "here, first: unknown key 'stepp'"),
        ({"step": 1}, "here: 'first' needs the key 'name'"),
        ({"name": "echo", "engine": "compile"}, "here, first: a captioner has no engine of its own"),
    ],
)
def test_mistakes_in_such_an_option_name_it(first: object, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        pairs().check(Kind.CAPTIONER, "pair", {"first": first}, "here")


def bringing(joint_set: JointSet) -> SimpleNamespace:
    @hookimpl
    def register_joint_sets() -> list[JointSet]:
        return [joint_set]

    return SimpleNamespace(register_joint_sets=register_joint_sets)


def test_a_plugin_brings_a_joint_set() -> None:
    horse = JointSet("horse3", ("left_hip", "right_hip", "tail"), (-1, 0, 0), (0, 1), "A horse's")
    made = registry(bringing(horse), bringing(horse))
    assert skeletons.joint_set("horse3") == horse
    assert not made.failures


def test_two_joint_sets_of_one_name_are_told() -> None:
    first = JointSet("cat2", ("left_hip", "right_hip"), (-1, 0), (0, 1), "A cat's")
    second = JointSet("cat2", ("left_ear", "right_ear"), (-1, 0), (0, 1), "Another cat's")
    made = registry(bringing(first), bringing(second), plugin("echo"))
    assert skeletons.joint_set("cat2") == first
    assert list(made.failures) == ["plugin1 (dist-1 1.0)"]
    assert "another joint set 'cat2'" in made.failures["plugin1 (dist-1 1.0)"]
    assert made.find(Kind.CAPTIONER, "echo")
