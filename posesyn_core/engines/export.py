"""A network as an ONNX file, and its fingerprint: what every engine that takes over a graph starts from."""

import hashlib
import importlib.metadata
import inspect
import logging
import math
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import nn

from posesyn_core.contracts.engines import ExportableModule
from posesyn_core.engines import folding, rounding
from posesyn_core.engines import precision as precisions
from posesyn_core.engines.cache import EngineCache, EngineKey
from posesyn_core.errors import UserError

EXTERNAL_DATA_BYTES = 1_500_000_000
"""Weights of more bytes go into a file of their own: an ONNX file can't hold more than 2 GB."""

OPSET_BFLOAT16 = 22
"""The first version of ONNX whose convolutions take bfloat16; else the exporter's own choice is the best supported."""

FOLDED = 1 << 20
"""What is computed from weights alone is computed when a graph is written, from up to so many numbers each: the
exporter's own limit leaves out all but the smallest weights. A result larger than its other limit is not kept."""


@frozen
class OnnxVersion:
    """Versions for a runtime that is older than the exporter; 0 = the exporter's own.

    ``opset`` is that of the operators, ``ir`` that of the file: ONNX Runtime 1.14 to 1.17 (2023) read opsets up to 18
    to 20 and IR 8 to 9, where exporters of today write IR 10.
    """

    opset: int = 0
    ir: int = 0


def export_onnx(
    module: ExportableModule, path: Path, precision: str = "fp32", onnx: OnnxVersion = OnnxVersion()
) -> Path:
    """Write ``module`` as an ONNX graph in "fp32", "fp16" or "bf16"; return ``path``.

    The graph takes and returns the module's names in float32 (and integers), with a free first axis called "batch".
    In half precision it is strongly typed: casts at its inputs and outputs and where the parts in ``keep_fp32`` begin
    and end.
    Weights past 1.5 GB lie beside it in ``<path's name>.data``, which must stay there. The file has passed the ONNX
    checker and shape inference, and its metadata name model, precision, inputs and PoseSyn's version. UserError if
    the package onnx is missing, if the network has an operator or a control flow that ONNX can't express, or if it
    can't be had in the wanted version of ``onnx``.
    """
    _require_onnx()
    wanted = tuple(tensor.cpu() for tensor in module.example.values())
    network = precisions.in_precision(module, precision)
    with _on_cpu(network), torch.no_grad():
        program = _program(module, network, wanted, precision, onnx.opset)
    _set_versions(program.model, module.name, onnx)
    program.model.metadata_props.update(_metadata(module, precision))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", suffix=".partial", dir=path.parent) as folder:
        written = Path(folder) / path.name
        program.save(str(written), external_data=_bytes_of(network) > EXTERNAL_DATA_BYTES)
        check_onnx(written)
        for file in sorted(Path(folder).iterdir(), reverse=True):  # the weights first: the graph is nothing without
            shutil.move(file, path.parent / file.name)
    return path


def exported(module: ExportableModule, precision: str, cache: EngineCache, onnx: OnnxVersion = OnnxVersion()) -> Path:
    """The ONNX file of ``module`` from the cache, where all engines share it; exported if none there is intact."""
    version = f"{importlib.metadata.version('posesyn')}, torch {torch.__version__}"
    if onnx != OnnxVersion():
        version += f", opset {onnx.opset}, IR {onnx.ir}"
    key = EngineKey(module.name, fingerprint(module), "onnx", version, "any", "", precision, (1, 2**31))

    def build(path: Path) -> None:
        export_onnx(module, path, precision, onnx)

    return cache.get(key, build)


def _require_onnx() -> None:
    for package in ("onnx", "onnxscript"):
        try:
            __import__(package)
        except ImportError as error:
            raise UserError(f"exporting to ONNX needs the package {package}: pip install 'posesyn[onnx]'") from error


def _program(
    module: ExportableModule, network: nn.Module, example: tuple[torch.Tensor, ...], precision: str, opset: int
) -> Any:
    """The ONNX program; by torch.export in strict mode, where ``len(tensor)`` of the batch stays symbolic."""
    batch = torch.export.Dim("batch")
    outputs = list(network(*example))
    try:
        with _quiet():
            exported = torch.export.export(
                network, example, dynamic_shapes=(tuple({0: batch} for _ in example),), strict=True
            )
            program: Any = torch.onnx.export(
                exported,
                dynamo=True,
                input_names=list(module.example),
                output_names=outputs,
                dynamic_shapes=(tuple({0: "batch"} for _ in example),),
                opset_version=opset or (OPSET_BFLOAT16 if precision == "bf16" else None),
                optimize=False,
                verbose=False,
            )
            _simplify(program.model, precision)
            _measure_numbers(program.model)
            return program
    except Exception as error:  # whatever torch's exporters raise, the network is what they can't take
        raise UserError(f"the network {module.name!r} can't be exported to ONNX: {_cause(error)}; {REMEDY}") from error


def _set_versions(model: Any, name: str, onnx: OnnxVersion) -> None:
    """Mark the file with the wanted version of ONNX; UserError if the operators could not be had in theirs."""
    found = model.opset_imports.get("")
    if onnx.opset and found != onnx.opset:
        raise UserError(f"the network {name!r} can't be exported with opset {onnx.opset}, only with {found}")
    if onnx.ir:
        model.ir_version = onnx.ir


def _simplify(model: Any, precision: str) -> None:
    """Take out of a graph what needs not be computed: the exporter's own optimiser without one of its rules.

    That rule compares all slices of a graph with each other, which takes minutes in a network of a thousand small
    operators, and spares nothing but the second of two slices.
    """
    from onnxscript import ir, optimizer, rewriter
    from onnxscript.rewriter.rules.common import slice_split_rule

    if precision == "bf16":  # the rules fold batch norms, and make float32 of bfloat16 weights
        optimizer.fold_constants(model, input_size_limit=FOLDED)
        optimizer.remove_unused_nodes(model)
        return
    rules = [rule for rule in rewriter._DEFAULT_REWRITE_RULES if rule is not slice_split_rule]
    optimizer.inline(model)
    for _ in range(2):
        optimizer.fold_constants(model, onnx_shape_inference=True, input_size_limit=FOLDED)
        rewriter.rewrite(model, rules)
    common = ir.passes.common
    ir.passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def _measure_numbers(model: Any) -> None:
    """Take the sizes of inputs that are bytes from the numbers which they are cast to: TensorRT's parser can cast bytes
    and nothing else."""
    for given in model.graph.inputs:
        users = [use.node for use in given.uses() if given.dtype is not None and given.dtype.name == "UINT8"]
        cast = next((node for node in users if node.op_type == "Cast"), None)
        sizes = [node for node in users if node.op_type == "Shape"]
        if cast is not None and sizes:
            for node in sizes:
                node.replace_input_with(0, cast.outputs[0])
            model.graph.sort()


REMEDY = "run it with engine 'torch' or 'compile', or rewrite that part of its forward"


def _cause(error: BaseException) -> str:
    """The first line of the innermost cause: torch's exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def check_onnx(path: Path) -> None:
    """Run the ONNX checker and strict shape inference over a graph; UserError if either objects."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(f"the ONNX graph {path.name!r} is not valid: {_cause(error)}; {REMEDY}") from error


def _metadata(module: ExportableModule, precision: str) -> dict[str, str]:
    return {
        "posesyn.model": module.name,
        "posesyn.precision": precision,
        "posesyn.inputs": ",".join(module.example),
        "posesyn.version": importlib.metadata.version("posesyn"),
        "posesyn.fingerprint": fingerprint(module),
    }


def fingerprint(module: ExportableModule) -> str:
    """A digest (64 hex digits) of what determines a network's graph; cheap, so that a cache is asked before exporting.

    It covers the weights and buffers, the structure as printed, the plain attributes of all modules (numbers of heads
    and the like), the source files of their classes outside torch, the example's names, dtypes and sizes, the parts
    kept in float32 and the source of how they are, and torch's version.
    """
    digest = hashlib.sha256(f"{torch.__version__}\n{module.module!r}\n{sorted(module.keep_fp32)}\n".encode())
    for name, tensor in module.example.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape[1:])}\n".encode())
    digest.update(repr(_plain_attributes(module.module)).encode())
    how = {Path(str(code.__file__)) for code in (precisions, folding, rounding)}
    for source in sorted(_sources(module.module) | how):
        digest.update(source.read_bytes())
    for name, tensor in (*module.module.named_parameters(), *module.module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain_attributes(network: nn.Module) -> list[tuple[str, str, object]]:
    """Module, name and value of what a forward may compute with though it is no tensor."""
    return [
        (name, attribute, value)
        for name, part in network.named_modules()
        for attribute, value in sorted(vars(part).items())
        if isinstance(value, (int, float, str, tuple)) and attribute != "training"
    ]


def _sources(network: nn.Module) -> set[Path]:
    modules = {sys.modules[type(part).__module__] for part in network.modules()}
    own = (m for m in modules if not m.__name__.startswith("torch."))
    return {Path(file) for file in (inspect.getsourcefile(m) for m in own if hasattr(m, "__file__")) if file}


def _bytes_of(network: nn.Module) -> int:
    tensors = (*network.parameters(), *network.buffers())
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors)


@contextmanager
def _on_cpu(network: nn.Module) -> Iterator[None]:
    """The graph is traced on the CPU, which every machine has; afterwards the network is back where it was."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.cpu()
    try:
        yield
    finally:
        network.to(device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about packages that we don't use off the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
