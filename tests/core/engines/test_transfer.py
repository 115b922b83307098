"""Pictures on their way to a device: fewer bytes, the same bits."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from posesyn_core.engines.batches import LoadedNetwork
from posesyn_core.engines.transfer import Lane, collate, looked_up
from posesyn_core.values import Inputs, Pixels

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def picture(seed: int, height: int = 6, width: int = 5, channels: int = 3) -> Pixels:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, channels)).astype(np.uint8)
    return Pixels(pixels, rng.normal(size=(channels, 256)).astype(np.float32))


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 7), st.integers(1, 4))
def test_a_picture_is_its_bytes_looked_up(seed: int, height: int, width: int, channels: int) -> None:
    one = picture(seed, height, width, channels)
    whole = np.asarray(one)
    assert whole.dtype == np.float32
    assert whole.shape == one.shape == (channels, height, width)
    for channel in range(channels):
        np.testing.assert_array_equal(whole[channel], one.levels[channel][one.pixels[..., channel]])
    np.testing.assert_array_equal(one[0], whole[0])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=4))
def test_a_device_sees_the_same_bits_as_a_cpu(seeds: list[int]) -> None:
    items: list[Inputs] = [{"images": picture(seed), "labels": np.full(2, seed, np.float32)} for seed in seeds]
    numbers, packed = collate(items, CPU), collate(items, GPU)
    assert packed.tensors["images"].dtype == torch.uint8
    assert len(packed) == len(numbers) == len(seeds)
    sent = packed.on(CPU)
    assert sent.keys() == numbers.tensors.keys()
    for name, tensor in numbers.tensors.items():
        torch.testing.assert_close(sent[name], tensor, rtol=0, atol=0)
    assert sent["images"].is_contiguous()


def test_bytes_are_a_quarter_of_numbers() -> None:
    items: list[Inputs] = [{"images": picture(seed, 256, 256)} for seed in range(4)]
    numbers, packed = collate(items, CPU), collate(items, GPU)
    assert numbers.nbytes == 4 * 3 * 256 * 256 * 4
    assert packed.nbytes == 4 * 3 * (256 * 256 + 256 * 4)


def test_a_batch_of_bytes_and_numbers_goes_as_numbers() -> None:
    items: list[Inputs] = [{"images": picture(0)}, {"images": np.asarray(picture(1))}]
    packed = collate(items, GPU)
    assert packed.levels == {}
    torch.testing.assert_close(packed.tensors["images"], collate(items, CPU).tensors["images"], rtol=0, atol=0)


def test_a_network_with_a_lane_gives_what_it_gives_without() -> None:
    """The lane's device is the CPU here, to which there is no way: what is computed must be the same."""

    def call(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"sum": tensors["images"].sum((1, 2, 3))}

    batch = collate([{"images": picture(seed)} for seed in range(3)], GPU)
    plain = LoadedNetwork(call, (1, 8)).start(collate([{"images": picture(seed)} for seed in range(3)], CPU))()  # type: ignore[arg-type]
    sent = LoadedNetwork(call, (1, 8), Lane(CPU)).start(batch)()  # type: ignore[arg-type]
    np.testing.assert_array_equal(plain["sum"], sent["sum"])


def test_levels_are_gathered_by_sample_and_channel() -> None:
    pixels = torch.tensor([[[[0, 1]]], [[[2, 0]]]], dtype=torch.uint8)  # (2, 1, 1, 2)
    levels = torch.arange(2 * 2 * 256, dtype=torch.float32).view(2, 2, 256)
    assert looked_up(pixels, levels).flatten().tolist() == [0, 257, 514, 768]


def test_numpy_computes_with_a_picture_as_with_its_array() -> None:
    one, other = picture(0), picture(1)
    np.testing.assert_array_equal(one - other, np.asarray(one) - np.asarray(other))
    assert one.dtype == np.float32
    assert not (one == other).all()
    assert (one == one).all()
