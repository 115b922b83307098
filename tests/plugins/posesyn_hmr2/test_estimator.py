"""What engines are told of the network."""

import torch
from torch import Tensor, nn

from posesyn_core.engines.precision import in_precision
from posesyn_core.inference.predict import exportable
from posesyn_hmr2.config import Hmr2Config
from posesyn_hmr2.estimator import Hmr2


def test_in_half_precision_blocks_add_to_sums_of_float32() -> None:
    """Products are halved, what they are added to is not: in bf16, 1 and 1 / 512 make 1."""
    module = exportable("hmr2", Hmr2(Hmr2Config(weights="random")))
    halved = in_precision(module, "bf16")
    backbone = halved.get_submodule("network.backbone")
    blocks = backbone.get_submodule("blocks")
    sums: list[torch.dtype] = []
    products: set[torch.dtype] = set()

    def note_sum(part: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        sums.extend((given[0].dtype, found.dtype))

    def note_product(part: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        products.add(found.dtype)

    for block in blocks.children():
        block.register_forward_hook(note_sum)
        for part in block.modules():
            if isinstance(part, nn.Linear):
                part.register_forward_hook(note_product)
    with torch.inference_mode():
        halved(**module.example)
    assert set(sums) == {torch.float32} and len(sums) == 2 * len(list(blocks.children()))
    assert products == {torch.bfloat16}
