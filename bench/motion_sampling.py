"""Claim: 25 times the tokens per second of the published sampling, at T2M-GPT's full size on two CPU cores.

Published: one sequence at a time, the whole prefix read again for each of its 50 tokens, in float32. Ours: 64
sequences at once with a key/value cache. Both are greedy, never end early, and run in turns on the same random weights
(speed does not depend on them; they are drawn large enough for sequences to differ). A reduced precision counts only if
its greedy tokens agree with float32's in 99 % of the positions before the first difference. The rate of a plain matrix
product, measured between the turns, says how much of the machine is used.

    python bench/motion_sampling.py [--batch 64] [--tokens 50] [--rounds 3] [--precisions float32 bfloat16]

Ratios are given of the time on the clock and of the time that the processor spent: on a machine with other work the
second is the steadier one. ``--tokens`` below 50 samples shorter sequences (for a quick look, or for a precision that
the processor has no units for); the published way then has less to read again.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from attrs import frozen
from torch import Tensor, nn

from posesyn_t2mgpt.sampling import eager, sample
from posesyn_t2mgpt.transformer import TEXT_DIM, T2MTransformer, TransformerShape

MATRIX = 2048
"""Rows and columns of the matrices of the plain product."""


def full_size() -> T2MTransformer:
    """9 + 9 layers, 1024 channels, 16 heads; weights that make tokens depend on text and past."""
    torch.manual_seed(0)
    model = T2MTransformer(TransformerShape()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.ndim == 2:
                parameter.mul_(1.5)
    return model


@torch.inference_mode()
def published(model: T2MTransformer, text: Tensor, tokens: int) -> Tensor:
    """Codes (1, tokens) of one sequence: the whole sequence so far is read for every token; End is barred."""
    codes = torch.zeros(1, 0, dtype=torch.long)
    for _ in range(tokens):
        best = model(text, codes)[:, -1, : model.shape.end].argmax(-1)
        codes = torch.cat([codes, best[:, None]], dim=1)
    return codes


def ours(model: T2MTransformer, text: Tensor, tokens: int) -> Tensor:
    """Codes (B, tokens) of all sequences."""
    count = torch.zeros(len(text), dtype=torch.long)
    codes, _ = sample(
        eager(model), model.shape, text, count[:, None][:, :0], count, least=count + tokens, most=count + tokens
    )
    return codes[:, :tokens]


@frozen
class Timed:
    """What a function returned, how long it took, and how long the processor's cores worked for it together."""

    codes: Tensor
    seconds: float
    busy: float


def timed(function: Callable[[], Tensor]) -> Timed:
    started, busy = time.perf_counter(), time.process_time()
    result = function()
    return Timed(result, time.perf_counter() - started, time.process_time() - busy)


def matrix_rate() -> float:
    """Floating-point operations per second of a plain float32 matrix product: the better of two."""
    a, b = torch.randn(2, MATRIX, MATRIX)
    return 2 * MATRIX**3 / min(timed(lambda: a @ b).seconds for _ in range(2))


def agreement(codes: Tensor, reference: Tensor) -> float:
    """Share of the positions (B, N) that lie before a sequence's first difference."""
    return (codes == reference).long().cumprod(1).float().mean().item()


def in_precision(model: T2MTransformer, name: str) -> T2MTransformer:
    """The same weights in another precision."""
    with torch.device("meta"):
        copy = T2MTransformer(model.shape)
    copy.load_state_dict(model.state_dict(), assign=True)
    return copy.to(getattr(torch, name)).eval()


def measure(
    model: T2MTransformer, precision: str, text: Tensor, tokens: int, rounds: int, reference: Tensor | None
) -> Tensor:
    """Print both rates, their ratio, the share of the machine's matrix rate, and the agreement of our codes with
    ``reference`` (None = the published way's, of as many rows as there were rounds). Returns our codes."""
    reduced = in_precision(model, precision)
    like = text.to(reduced.trans_head.head.weight.dtype)
    theirs, mine, matrix = list[Timed](), list[Timed](), list[float]()
    for number in range(rounds):
        matrix.append(matrix_rate())
        row = text[number % len(text)][None]
        theirs.append(timed(lambda row=row: published(model, row, tokens)))  # type: ignore[misc]
        mine.append(timed(lambda: ours(reduced, like, tokens)))
    rate = statistics.median(run.codes.numel() / run.seconds for run in mine)
    share = len(text) * statistics.median(one.seconds / other.seconds for one, other in zip(theirs, mine, strict=True))
    busy = len(text) * statistics.median(one.busy / other.busy for one, other in zip(theirs, mine, strict=True))
    products = 2 * rate * sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear))
    if reference is None:
        reference = torch.cat([run.codes for run in theirs])
    same = agreement(mine[0].codes[: len(reference)], reference)
    print(f"{precision}, {tokens} tokens, median of {rounds} rounds:")
    print(f"  published    {statistics.median(tokens / run.seconds for run in theirs):8.1f} tokens/s (float32)")
    print(f"  ours         {rate:8.1f} tokens/s")
    print(f"  ratio        {share:8.1f} (claim: at least 25); of the time that the cores worked {busy:.1f}")
    print(f"  products     {products / 1e9:8.1f} GFLOP/s with the weights alone,", end=" ")
    print(f"{products / statistics.median(matrix):.2f} of the {statistics.median(matrix) / 1e9:.1f} of a plain product")
    print(
        f"  agreement    {100 * same:8.1f} % of {len(reference)} sequences' float32 codes before the first difference"
    )
    return mine[0].codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", nargs="*", default=["float32", "bfloat16"])
    options = parser.parse_args()
    model = full_size()
    text = torch.randn(options.batch, TEXT_DIM, generator=torch.Generator().manual_seed(1)) * 10 / TEXT_DIM**0.5
    ours(model, text[:2], 2)  # warm-up
    print(f"{torch.get_num_threads()} threads, batch {options.batch}", flush=True)
    reference = None
    for precision in options.precisions:
        codes = measure(model, precision, text, options.tokens, options.rounds, reference)
        reference = codes if precision == "float32" else reference


if __name__ == "__main__":
    main()
