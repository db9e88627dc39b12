"""What several processes share, in a group of one: there it has to be what PyTorch does alone."""

import pytest
import torch
from torch import distributed, nn

from qghelpers.training.distributed import batch_norm_over_processes


@pytest.fixture
def group():
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    yield
    distributed.destroy_process_group()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5, momentum=0.3))
    nn.init.uniform_(layers[1].weight)
    nn.init.uniform_(layers[1].bias)
    return layers


@pytest.mark.parametrize("training", [True, False])
def test_the_shared_batch_normalisation_is_that_of_pytorch(group, training):
    """On few numbers, so that n and n - 1 differ."""
    x = torch.randn(2, 3, 1, 2, generator=torch.Generator().manual_seed(1)) + 2
    weight = torch.randn(2, 5, 1, 2, generator=torch.Generator().manual_seed(2))
    results = []
    for shared in (False, True):
        model = network().train(training)
        image = x.clone().requires_grad_()
        if shared:
            with batch_norm_over_processes(model):
                y = model(image)
                (weight * y).sum().backward()
            assert "forward" not in vars(model[1])  # as it was before
        else:
            y = model(image)
            (weight * y).sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        results.append([y.detach(), image.grad, *gradients, *model.buffers()])
    for alone, together in zip(*results, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
