"""The report's numbers, from tables in several parts."""

from collections.abc import Callable

import numpy as np
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.pipeline.run import Run
from posesyn_core.pipeline.tables import Row
from posesyn_core.recipe import Choice
from posesyn_core.report import figures

MakeRun = Callable[..., Run]


def test_score_figures_do_not_depend_on_the_parts(make_run: MakeRun) -> None:
    run = make_run("score")
    whole = figures.score_figures(run)
    rows = list(run.scored.rows())
    for number, row in enumerate(rows):
        run.scored.write_part(number, [row])
    parts = figures.score_figures(run)
    assert whole is not None and parts is not None
    np.testing.assert_array_equal(whole.errors, parts.errors)
    assert whole.mean_joint_error == parts.mean_joint_error and whole.pck == parts.pck
    assert whole.pck == {0.05: 0.4, 0.1: 0.6, 0.2: 0.8}  # 60, 30, 15, 6, 3 pixels against 12.8, 25.6, 51.2


def test_joints_without_a_label_do_not_count(make_run: MakeRun) -> None:
    run = make_run("score")
    some = np.full(16, np.nan)
    some[[0, 5]] = 20, 40  # the ankles
    run.scored.write_part(0, [Row("a", evolve(next(run.scored.values()), joint_errors=some))])
    found = figures.score_figures(run)
    assert found is not None and found.labelled == 2 and found.mean_joint_error == 30


def test_joint_sets_are_kept_apart(make_run: MakeRun) -> None:
    run = make_run("score")
    first = next(run.scored.values())
    sample = evolve(first.sample, joint_set="coco17", keypoints2d=np.zeros((17, 2)), confidence=np.ones(17))
    run.scored.write_part(
        1, [Row("coco", evolve(first, sample=sample, joint_errors=np.full(17, 5.0), compared="coco17"))]
    )
    found = figures.score_figures(run)
    assert found is not None
    assert found.joints["mpii16"].count.sum() == 75
    assert found.joints["coco17"].count.sum() == 17  # its root is the mean of both hips: they have errors of their own


@given(st.lists(st.floats(0, 1000), min_size=1), st.lists(st.floats(0, 1000), min_size=1))
def test_pass_rate_counts_what_is_not_above_tau(errors: list[float], taus: list[float]) -> None:
    expected = [100 * np.mean(np.array(errors) <= tau) for tau in taus]
    np.testing.assert_allclose(figures.pass_rate(np.array(errors), taus), expected)


def test_filter_options_come_from_the_recipe_or_the_component(make_run: MakeRun) -> None:
    run = make_run("score")
    assert figures.filter_options(run) == figures.FilterOptions(120.0, "mean")
    chosen = evolve(run, recipe=evolve(run.recipe, filter=Choice("tpe_error", {"tau": 80.0})))
    assert figures.filter_options(chosen) == figures.FilterOptions(80.0, "mean")
    foreign = evolve(run, recipe=evolve(run.recipe, filter=Choice("clip_score")))
    assert figures.filter_options(foreign) == figures.FilterOptions(None, None)


def test_unknown_variants_come_last_under_their_own_name(make_run: MakeRun) -> None:
    run = make_run("score")
    measured = {"mpjpe": 1.0, "pa_mpjpe": 1.0, "samples": 3}
    run.finish("evaluate", {"variants": dict.fromkeys(("ablation", "posesyn", "shipped"), measured)})
    assert [variant.title for variant in figures.variants(run)] == [
        "As shipped",
        "Fine-tuned on real + synthesised data",
        "ablation",
    ]
