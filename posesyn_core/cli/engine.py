"""``posesyn engine``: networks on other engines than eager torch, and what of them is kept on disk."""

import time

import click

GIGABYTE = 1e9


@click.group(short_help="Networks on ONNX Runtime, TensorRT and torch.compile: build, check, time, keep.")
def engine() -> None:
    """Export, build, check and time networks on the engines of this machine; list and clear what they built."""


@engine.command("list", short_help="What the engines have built and kept.")
def list_() -> None:
    """List the exported graphs and built engines in the cache, the most recently used first."""
    from rich.console import Console
    from rich.table import Table

    from posesyn_core.engine_cache import EngineCache

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


@engine.command("clear", short_help="Delete what the engines have built.")
def clear() -> None:
    """Delete all built engines and exported graphs; those that another process is building stay.

    They are built again when they are needed. What TensorRT measured of kernels is kept.
    """
    from posesyn_core.engine_cache import EngineCache

    cache = EngineCache()
    click.echo(f"freed {cache.clear() / GIGABYTE:.2f} GB in {cache.folder}")
