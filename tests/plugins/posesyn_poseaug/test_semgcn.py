"""SemGCN's biases before norms."""

import torch

from posesyn_poseaug.augmentor import Pairs, adam, lifter_loss, update
from posesyn_poseaug.lifters.semgcn import SemGcn, Sizes


def biases(network: SemGcn) -> dict[str, torch.Tensor]:
    """Those that a norm follows."""
    return {name: value for name, value in network.named_parameters() if name.endswith(".gconv.bias")}


def some(count: int) -> Pairs:
    """Random poses with random 2D."""
    return Pairs(torch.randn(count, 16, 3), torch.randn(count, 16, 2), torch.zeros(count, 9))


def test_in_training_biases_before_norms_change_nothing_and_are_not_changed() -> None:
    torch.manual_seed(0)
    network = SemGcn(Sizes(8, 2)).double().train()
    keypoints = torch.randn(5, 16, 2, dtype=torch.float64)
    expected = network(keypoints)
    with torch.no_grad():
        for bias in biases(network).values():
            bias.add_(torch.randn_like(bias))
    torch.testing.assert_close(network(keypoints), expected, rtol=0, atol=1e-9)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    network.float()
    optimiser = adam(network, 0.02)
    for _ in range(4):
        update(network.parameters(), optimiser, lifter_loss(network, some(8)), 1.0)
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name].float())}
    assert moved == before.keys() - biases(network).keys()


def test_with_norms_at_rest_they_learn() -> None:
    torch.manual_seed(0)
    network = SemGcn(Sizes(8, 2)).eval()
    lifter_loss(network, some(8)).backward()
    assert all(bias.grad is not None and bias.grad.abs().sum() > 0 for bias in biases(network).values())


def test_errors_at_inference_follow_those_of_training() -> None:
    """The running averages keep up with the official rate: answers at rest are near those of training."""
    torch.manual_seed(2)
    network = SemGcn(Sizes(16, 1))
    optimiser, pairs = adam(network, 0.02), some(64)
    apart = []
    for _ in range(150):
        network.train()
        update(network.parameters(), optimiser, lifter_loss(network, pairs), 1.0)
        with torch.no_grad():
            training = float(lifter_loss(network, pairs))
            apart.append(float(lifter_loss(network.eval(), pairs)) / training)
    assert max(apart[50:]) < 1.5
