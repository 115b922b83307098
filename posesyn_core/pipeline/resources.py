"""What a cluster sets aside for a process that does a stage: as its components say, or as the recipe does."""

import attrs

from posesyn_core.components import Kind
from posesyn_core.contracts.needs import Resources
from posesyn_core.contracts.sections import ExecutorChoice
from posesyn_core.pipeline.order import uses
from posesyn_core.pipeline.preflight import choices_of
from posesyn_core.pipeline.run import Run


def resources(run: Run, stage: str, said: ExecutorChoice) -> Resources:
    """CPUs and GPUs of the component that takes most, since they run by turns, and memory for all of them.

    What is ``said`` stands above it. A component without a device of its own runs on the CPU.
    """
    cpus, gpus, memory = 1.0, 0.0, 0.0
    for kind, choice, where in choices_of(run.recipe, run.registry):
        if kind is Kind.ENGINE or not uses(stage, where):  # an engine runs a network that is counted already
            continue
        component = run.registry.find(kind, choice.name).component
        needed, has_device = component.resources, "device" in attrs.fields_dict(component.config)
        on_gpu = has_device and str(choice.options.get("device", run.recipe.machine.device)).startswith("cuda")
        cpus, gpus = max(cpus, needed.cpus), max(gpus, needed.gpus if on_gpu else 0.0)
        memory += needed.memory_gb
    return Resources(
        cpus if said.cpus is None else said.cpus,
        gpus if said.gpus is None else said.gpus,
        memory if said.memory_gb is None else said.memory_gb,
    )
