"""``posesyn engine``: networks on other engines than eager torch, and what of them is kept on disk."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from posesyn_core.cli.numbers import Positive
from posesyn_core.components import Kind
from posesyn_core.contracts.engines import ENGINE_PRECISIONS, Engine
from posesyn_core.engines.cache import EngineCache
from posesyn_core.recipe import settings_of
from posesyn_core.registry import Registry

if TYPE_CHECKING:
    from posesyn_core.inference.verification import Agreement, Subject, Timing

GIGABYTE = 1e9


@click.group(short_help="Build, verify and time networks on ONNX Runtime, TensorRT and torch.compile.")
def engine() -> None:
    """Export, build, verify and time networks on this machine's engines; list and clear the engine cache."""


@engine.command("list", short_help="List the engine cache.")
def list_() -> None:
    """List the exported graphs and built engines in the cache, most recently used first."""
    from rich.console import Console
    from rich.table import Table

    cache = EngineCache()
    entries = cache.entries()
    table = Table("network", "engine", "device", "precision", "batch", "MB", "last used", "key", box=None)
    for entry in entries:
        key, used = entry.key, time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
        batch = f"{key.batch[0]}-{key.batch[1]}" if key.engine != "onnx" else "any"
        device = f"{key.device} {key.capability}".strip()
        size = f"{entry.bytes / 1e6:.1f}"
        row = (key.name, f"{key.engine} {key.version}", device, key.precision, batch, size, used, key.digest[:8])
        table.add_row(*row)
    if entries:
        Console().print(table)
    total = sum(entry.bytes for entry in entries) / GIGABYTE
    click.echo(f"{len(entries)} engines, {total:.2f} of {cache.limit_bytes / GIGABYTE:.0f} GB, in {cache.folder}")


@engine.command("clear", short_help="Clear the engine cache.")
def clear() -> None:
    """Delete all built engines and exported graphs, except those that another process is building.

    They are rebuilt when needed. TensorRT's timing cache is kept.
    """
    cache = EngineCache()
    click.echo(f"freed {cache.clear() / GIGABYTE:.2f} GB in {cache.folder}")


_set = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the component.")
_precision = click.option(
    "--precision", type=click.Choice(ENGINE_PRECISIONS), default="fp32", show_default=True, help="Numeric precision."
)
_device = click.option("--device", help="Torch device: cpu, cuda, cuda:1, mps; default: the engine's.")


def on_an_engine(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the component NAME with its options, and an engine: it gets ``checked`` and ``chosen``."""

    @functools.wraps(command)
    def opened(
        registry: Registry,
        name: str,
        settings: tuple[str, ...],
        engine: str,
        precision: str,
        device: str | None,
        batch: tuple[int, int] | None,
        **others: Any,
    ) -> None:
        from posesyn_core.inference.verification import subject

        given = {"precision": precision, "device": device, "batch": batch}
        options = {key: value for key, value in given.items() if value is not None}
        chosen: Engine = registry.create(Kind.ENGINE, engine, options, f"options of the engine {engine}")
        command(name, subject(registry, name, settings_of(settings)), engine, chosen, **others)

    decorated: Callable[..., Any] = click.pass_obj(opened)
    for decorate in (
        click.option(
            "--batch", type=(int, int), metavar="LEAST MOST", help="Smallest and largest batch; default 1 64."
        ),
        _device,
        _precision,
        click.option("--engine", default="onnx", show_default=True, help="Engine; see `posesyn plugins`."),
        _set,
        click.argument("name", metavar="ESTIMATOR|MOTION"),
    ):
        decorated = decorate(decorated)
    return decorated


@engine.command(short_help="Export a component's networks to ONNX files.")
@click.argument("name", metavar="ESTIMATOR|MOTION")
@_set
@_precision
@click.option(
    "--opset", type=click.IntRange(0), default=0, help="ONNX opset, for older runtimes; default: the exporter's."
)
@click.option(
    "--ir",
    type=click.IntRange(0),
    default=0,
    help="ONNX IR version (runtimes from 2023 refuse 10); default: the exporter's.",
)
@click.option("--out", default=".", show_default=True, type=click.Path(path_type=Path), help="Output folder.")
@click.pass_obj
def export(
    registry: Registry, name: str, settings: tuple[str, ...], precision: str, opset: int, ir: int, out: Path
) -> None:
    """Export every network of the component to <network>.<precision>.onnx, checked, with a dynamic batch axis.

    \b
    posesyn engine export spin --set weights=model_checkpoint.pt --precision fp16 --out graphs
    """
    from posesyn_core.engines.export import OnnxVersion, export_onnx
    from posesyn_core.inference.verification import subject

    for network in subject(registry, name, settings_of(settings)).networks:
        path = export_onnx(network, out / f"{network.name}.{precision}.onnx", precision, OnnxVersion(opset, ir))
        click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, inputs {', '.join(network.example)}")


@engine.command(short_help="Build a component's engine ahead of a run.")
@on_an_engine
def build(name: str, checked: "Subject", engine: str, chosen: Engine) -> None:
    """Build the component's networks for an engine. The result is cached, so later runs start at once.

    \b
    posesyn engine build spin --engine tensorrt --precision fp16 --batch 1 64
    """
    from posesyn_core.inference.verification import load

    started = time.perf_counter()
    load(checked.networks, chosen)
    click.echo(f"{name} on {engine} ({chosen.config.precision}) is ready after {time.perf_counter() - started:.1f} s")


@engine.command(short_help="Check that an engine gives the same results as eager torch.")
@on_an_engine
@click.option(
    "--tolerance", type=Positive(), help="Largest difference allowed: mm for an estimator, otherwise per cent."
)
def verify(name: str, checked: "Subject", engine: str, chosen: Engine, tolerance: float | None) -> None:
    """Run the component on an engine and in eager float32 on the same inputs, and print the difference.

    An estimator's joints may differ by at most 0.1 mm in fp32, and by 2 mm on average in fp16 and bf16. A motion
    generator is compared by the tokens that it draws. Exits with 2 if the engine is refused.

    \b
    posesyn engine verify spin --engine onnx --precision fp16
    """
    from posesyn_core.inference.verification import verify as compare

    agreement: Agreement = compare(checked, chosen, tolerance)
    label = f"{name} on {engine} ({chosen.config.precision})"
    click.echo(f"{label}: {agreement.text}")
    agreement.require(label)
    click.echo(f"accepted: {agreement.error:.4f} {agreement.unit} of {agreement.tolerance:g} allowed")


@engine.command(short_help="Time every available engine on a component.")
@click.argument("name", metavar="ESTIMATOR|MOTION")
@_set
@_precision
@_device
@click.option("--batches", default="1,8,32", show_default=True, help="Batch sizes.")
@click.option(
    "--seconds", type=Positive(), default=2.0, show_default=True, help="Seconds to time each engine at each batch size."
)
@click.pass_obj
def bench(
    registry: Registry,
    name: str,
    settings: tuple[str, ...],
    precision: str,
    device: str | None,
    batches: str,
    seconds: float,
) -> None:
    """Print throughput, latency and the speed-up over eager float32 for every available engine.

    Then the fastest one at the largest batch whose joints (or tokens) agree with eager float32.
    """
    from posesyn_core.inference import verification

    sizes = verification.batch_sizes(batches)
    options = {"precision": precision, "batch": (1, max(sizes)), **({} if device is None else {"device": device})}
    engines, missing = verification.present_engines(registry, options)
    checked = verification.subject(registry, name, settings_of(settings))
    networks, every = checked.networks, list[verification.Timing]()
    expected = verification.bench_seconds(len(networks), len(engines), sizes, seconds)
    counted = f"{len(engines)} engines, {len(sizes)} batch sizes, {len(networks)} networks, {seconds:g} s each"
    click.echo(f"this takes about {expected:.0f} s ({counted}), and the time to export and compile")
    for network in networks:
        timings, refused = verification.bench(network, engines, sizes, seconds)
        _print_timings(network.name, timings)
        every += timings
        missing |= refused
    for engine_name, reason in missing.items():
        click.echo(f"without {engine_name}: {reason}")
    best = verification.recommended(checked, engines, every)
    if best is None:
        click.echo("recommended: eager torch; nothing here is both faster and accurate enough")
    else:
        click.echo(f"recommended: {best[0]}, {best[1]:.1f} times as fast as eager float32; {best[2].text}")


def _print_timings(title: str, timings: "list[Timing]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("engine", title=title)
    for column in ("batch", "samples/s", "ms/call", "x eager fp32"):
        table.add_column(column, justify="right")
    for timing in timings:
        figures = (f"{timing.rate:.1f}", f"{timing.latency:.2f}", f"{timing.ratio:.2f}")
        table.add_row(timing.engine, str(timing.batch), *figures)
    Console().print(table)
