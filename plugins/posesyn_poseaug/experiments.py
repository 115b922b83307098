"""Doing PoseAug's tables: ``posesyn experiment poseaug-table4 --world mocap``.

The recipe's ``real`` is what lifters are trained on, its ``test`` what they are measured on (labels H36M, 3DHP, 3DPW;
in the world ``mocap`` "lab" stands for the first and "wild" for the others), its estimator the lifter of tables that
have one, its ``finetune.augmenter`` PoseAug's options for all rows. Folders: ``seed-S/<lifter>/<what>``, shared by all
rows and tables with equal settings; a training that is there is not done again.
"""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from attrs import asdict, evolve, fields_dict, frozen
from torch import Tensor

from posesyn_core.components import Kind
from posesyn_core.errors import SampleError, UserError
from posesyn_core.experiments.runner import Laboratory
from posesyn_core.files.paths import write_atomic
from posesyn_core.geometry.joints import labelled_frame
from posesyn_core.recipe import Choice, Recipe
from posesyn_core.seeds import seed_of
from posesyn_core.values import Sample
from posesyn_poseaug.augmenter import pose_set
from posesyn_poseaug.config import LifterConfig, PoseAugConfig
from posesyn_poseaug.estimator import joint_set_of
from posesyn_poseaug.poses import PoseSet, read_templates
from posesyn_poseaug.screen import see
from posesyn_poseaug.tables import KEYPOINTS, TABLES, Row, Table, table4
from posesyn_poseaug.training import Data, Line, Schedule, Training, run
from posesyn_poseaug.weights import LIFTERS, load_network

if TYPE_CHECKING:
    from rich.table import Table as Printed

STANDS_FOR = {"lab": ("H36M",), "wild": ("3DHP", "3DPW")}
"""Which of the paper's test sets those of the world ``mocap`` are shown beside."""
DataSet = TypeVar("DataSet", bound=Choice)
UNITS = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pck": "PCK", "auc": "AUC"}


@frozen(eq=False)
class Done:
    """A row with the errors of every seed's last epoch: by seed, test set, metric."""

    row: Row
    figures: Mapping[int, Mapping[str, Mapping[str, float]]]


def do_table(name: str, laboratory: Laboratory, seeds: Sequence[int]) -> "list[Printed]":
    """Do or resume the trainings of a table, write ``<name>.json``, and return the table for printing."""
    recipe = laboratory.recipe(0)
    table = _table(name, laboratory, recipe)
    done = [_row(row, laboratory, seeds) for row in table.rows if laboratory.wants(row.name)]
    plain = [{"row": each.row.name, "figures": each.figures, "paper": each.row.published} for each in done]
    write_atomic(laboratory.folder / f"{name}.json", json.dumps(plain, indent=1) + "\n")
    return [_printed(table, done, tuple(choice.label for choice in recipe.test))]


def _table(name: str, laboratory: Laboratory, recipe: Recipe) -> Table:
    if name in TABLES:
        return TABLES[name]
    config = _config(laboratory, recipe, {})
    many = all("keypoints" in fields_dict(_reader_config(laboratory, choice)) for choice in recipe.real)
    return table4(config.figures, tuple(KEYPOINTS) if many and recipe.real else ("",))


def _row(row: Row, laboratory: Laboratory, seeds: Sequence[int]) -> Done:
    if row.quoted:
        return Done(row, {})
    return Done(row, {seed: _do(row, laboratory, seed)[-1]["tests"] for seed in seeds})


def _do(row: Row, laboratory: Laboratory, seed: int) -> list[Line]:
    """One row for one seed: the lifter's own training, and PoseAug's after it."""
    recipe = _with_keypoints(laboratory, laboratory.recipe(seed), row.keypoints)
    config = _config(laboratory, recipe, row.options or {})
    name = row.lifter or recipe.estimator.name
    if name not in LIFTERS:
        raise UserError(f"these tables are about lifters, not {name!r}: set estimator to one of {', '.join(LIFTERS)}")
    lifter_config = _lifter_config(laboratory, recipe.estimator, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, name, "lifter"))
        lifter = load_network(name, lifter_config.weights, lifter_config.dropout, lifter_config.width)
    kind, data = LIFTERS[name], _data(laboratory, recipe, joint_set_of(name, lifter_config), config, row)
    folder = laboratory.folder.parent / "poseaug" / f"seed-{seed}" / _folder(name, lifter_config, recipe)
    lines: list[Line] = []
    if lifter_config.weights in ("random", "random-full"):
        schedule = Schedule(config.own_epochs or kind.epochs, kind.rate, config.batch_size)
        alone = Training(lifter, evolve(data, extra_2d=None), schedule, seed)
        lines = run(alone, folder / f"alone-{_digest(asdict(schedule))}", f"{row.name}, seed {seed}: alone")
    if row.options is None:
        return lines or [{"tests": Training(lifter, data, Schedule(1, kind.rate), seed).measure()}]
    schedule = Schedule(config.epochs, config.lifter_rate or kind.augmented_rate, config.batch_size)
    training = Training(lifter, data, schedule, seed, config)
    what = f"poseaug-{_digest({**asdict(config), **asdict(schedule), 'extra': row.extra_2d})}"
    return run(training, folder / what, f"{row.name}, seed {seed}: PoseAug")


def _config(laboratory: Laboratory, recipe: Recipe, options: Mapping[str, Any]) -> PoseAugConfig:
    choice = recipe.finetune.augmenter or Choice("poseaug")
    if choice.name != "poseaug":
        raise UserError(f"these tables are about the augmenter 'poseaug', not {choice.name!r}")
    where = "the experiment's finetune.augmenter"
    found: PoseAugConfig = laboratory.registry.check(Kind.AUGMENTER, choice.name, {**choice.options, **options}, where)
    return found


def _lifter_config(laboratory: Laboratory, choice: Choice, name: str) -> LifterConfig:
    """The estimator's options; another lifter than the recipe's can't have its weight file."""
    options = dict(choice.options)
    if name != choice.name and options.get("weights", "random") not in ("random", "random-full"):
        options["weights"] = "random-full"
    found: LifterConfig = laboratory.registry.check(Kind.ESTIMATOR, name, options, "the experiment's estimator")
    return found


def _data(laboratory: Laboratory, recipe: Recipe, joint_set: str, config: PoseAugConfig, row: Row) -> Data:
    if not recipe.real or not recipe.test:
        raise UserError(
            "these tables need 'real' data to train on and 'test' data: name readers of poses in the recipe"
        )
    real = [_poses(laboratory, choice, f"real.{at}", joint_set) for at, choice in enumerate(recipe.real)]
    tests = {choice.label: _poses(laboratory, choice, f"test.{at}", joint_set) for at, choice in enumerate(recipe.test)}
    templates = read_templates(Path(config.templates).expanduser()) if config.templates else None
    extra = _flat_poses(laboratory, recipe.dataset, joint_set) if row.extra_2d else None
    return Data(PoseSet.joined(real), tests, joint_set, templates, extra)


def _poses(laboratory: Laboratory, choice: Choice, where: str, joint_set: str) -> PoseSet:
    """A reader's poses as arrays: its own, or made of its samples."""
    reader = laboratory.registry.create(Kind.READER, choice.name, choice.options, where)
    if hasattr(reader, "poses"):
        found: PoseSet = reader.poses()
        return found
    samples = [entry for entry in reader.samples() if isinstance(entry, Sample)]
    return pose_set([labelled_frame(sample) for sample in samples], joint_set)


def _flat_poses(laboratory: Laboratory, choice: Choice, joint_set: str) -> Tensor:
    """(N, 16, 2) the 2D poses of the recipe's data set, for the 2D discriminator. UserError if none has all joints."""
    reader = laboratory.registry.create(Kind.READER, choice.name, choice.options, "dataset")
    if hasattr(reader, "poses"):
        flat: Tensor = reader.poses().keypoints
        return flat
    found, reason = [], "it has no sample"
    for sample in reader.samples():
        if isinstance(sample, Sample):
            try:
                found.append(
                    see(
                        sample.keypoints2d, sample.confidence > 0, sample.joint_set, joint_set, sample.image,
                        sample.camera,
                    ).screen
                )  # fmt: skip
            except SampleError as error:
                reason = f"{sample.id}: {error}"
    if not found:
        raise UserError(f"no 2D pose of the data set {choice.name!r} is whole; {reason}")
    return torch.from_numpy(np.stack(found))


def _with_keypoints(laboratory: Laboratory, recipe: Recipe, keypoints: str) -> Recipe:
    """The recipe with 2D poses of another source, wherever the reader has a choice."""
    if not keypoints:
        return recipe

    def changed(choice: DataSet) -> DataSet:
        able = "keypoints" in fields_dict(_reader_config(laboratory, choice))
        return evolve(choice, options={**choice.options, "keypoints": keypoints}) if able else choice

    return evolve(recipe, real=tuple(map(changed, recipe.real)), test=tuple(map(changed, recipe.test)))


def _reader_config(laboratory: Laboratory, choice: Choice) -> type:
    return laboratory.registry.find(Kind.READER, choice.name).component.config


def _folder(name: str, config: LifterConfig, recipe: Recipe) -> str:
    """A lifter's folder: what it is and what it is trained and tested on."""
    data = [(choice.name, dict(choice.options)) for choice in (*recipe.real, *recipe.test)]
    return f"{name}-{_digest({**asdict(config), 'data': data})}"


def _digest(plain: Any) -> str:
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _printed(table: Table, done: Sequence[Done], tests: Sequence[str]) -> "Printed":
    from rich.table import Table as Printed

    shown = Printed("method", title=f"{table.title}\nin brackets the published figures")
    columns = [column for column in table.columns if _label(column[0], tests)]
    for data, metric in columns or table.columns:
        label = _label(data, tests)
        beside = data if label in (None, data) else f"{label} ({data})"
        shown.add_column(f"{beside}\n{UNITS[metric]}", justify="right")
    for each in done:
        cells = [_cell(each, data, metric, _label(data, tests)) for data, metric in columns or table.columns]
        shown.add_row(each.row.name, *cells)
    return shown


def _label(data: str, tests: Sequence[str]) -> str | None:
    """The recipe's test set that stands for one of the paper's."""
    return next((label for label in tests if label == data or data in STANDS_FOR.get(label, ())), None)


def _cell(done: Done, data: str, metric: str, label: str | None) -> str:
    values = [figures[label][metric] for figures in done.figures.values() if label is not None]
    ours = f"{statistics.mean(values):.1f}" if values else "-"
    ours += f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    published = done.row.published.get(data, {}).get(metric)
    return ours if published is None else f"{ours} ({published:.1f})"
