"""What a part costs beside its work: by the local executor, by a shard, and on a Ray cluster of two one-core nodes.

Claims: the driver of a Ray run spends less than 20 ms on a part, that cost does not grow with the number of parts, and
its memory stays flat. The work of a part is replaced by nothing, so that only what surrounds it is left: telling its
units and their identity, writing and sealing its file, handing it out, counting it.

    python bench/scaling.py --parts 200 2000
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posesyn_core import Motion
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.pipeline.cluster import RayExecutor
from posesyn_core.pipeline.executor import LOCAL, Executor
from posesyn_core.pipeline.run import create_run
from posesyn_core.pipeline.shards import Shard, ShardExecutor
from posesyn_core.pipeline.tables import Row, Table
from posesyn_core.pipeline.work import Unit, Work
from posesyn_core.recipe import parse_recipe
from posesyn_core.registry import Registry


class Nothing(Work[int, Motion]):
    """Parts of two units that cost nothing to do; how many is ``synthesize.motions_per_sample`` of the recipe."""

    stage, part = "synthesize", 2

    @property
    def table(self) -> Table[Motion]:
        return self.run.motions

    def units(self) -> Iterator[Unit[int]]:
        return ((str(number), number) for number in range(2 * self.run.recipe.synthesize.motions_per_sample))

    def rows(self, batches: Iterator[list[Unit[int]]]) -> Iterator[Row[Motion]]:
        joints = np.zeros((1, 22, 3), np.float32)
        return (Row(name, Motion(name, "s", "", joints)) for batch in batches for name, _ in batch)


def per_part(executor: Executor, parts: int) -> tuple[float, int]:
    """Milliseconds of this process's time for a part, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = parse_recipe(f'dataset = "world"\n[synthesize]\nmotions_per_sample = {parts}\n')
        work = Nothing(create_run(Path(folder) / "run", recipe, Registry.discover()))
        started = time.process_time()
        executor.fill(work)
        spent = time.process_time() - started
    return 1000 * spent / parts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, nargs="+", default=[200, 2000])
    options = parser.parse_args()
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    ways: dict[str, Executor] = {
        "local": LOCAL,
        "shard 0/1": ShardExecutor(Shard(0, 1), wait=False),
        "ray's driver": RayExecutor(ExecutorChoice("ray", cluster.address)),
    }
    for name, executor in ways.items():
        for parts in options.parts:
            cost, memory = per_part(executor, parts)
            line = f"{cost:6.2f} ms of this process's time a part, peak {memory} MiB"
            print(f"{name:<12} {parts:>7} parts: {line}", flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
