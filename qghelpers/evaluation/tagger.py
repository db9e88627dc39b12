"""A small convolutional network that tells two kinds of jet images apart, with labels.

Trained on quark and gluon jets it is the ceiling for what a code can know of them, and a judge of
reconstructions: frozen, it must find in these what it found in the originals. Trained on drawn and
true jets it is a two-sample test.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from qghelpers.networks.layers import LogScale
from qghelpers.training.engine import processor_has_bf16

WIDTHS = (16, 32, 64, 64)  # channels at 125, 62, 31 and 15 pixels a side
EPOCHS, BATCH, LEARNING_RATE = 6, 64, 3e-3


def network() -> nn.Module:
    """Four convolutions with pooling, the mean over the last one's pixels, one number a jet.

    It takes images in GeV/100, `(n, 3, 125, 125)`, and returns log odds, `(n,)`.
    """
    layers: list[nn.Module] = [LogScale()]
    for before, after in pairwise((3, *WIDTHS)):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.AvgPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 1), nn.Flatten(0)]
    return nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)


def train(
    images: Callable[[np.ndarray], Tensor], labels: np.ndarray, epochs: int = EPOCHS, seed: int = 0
) -> nn.Module:
    """A tagger of label 1 against label 0, in evaluation mode; the caller's chance is left alone.

    AdamW with one cycle of the learning rate; in bfloat16 where the processor has it.

    Args:
        images: gives those of some jets, by their indices, in GeV/100 with shape
            `(n, 3, 125, 125)`; such as `JetImages.images`.
        labels: 0 or 1, with shape `(n,)`.
        epochs: passes over the jets.
        seed: of weights and order.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    steps, bf16 = epochs * -(-len(labels) // BATCH), processor_has_bf16()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    rng, targets = np.random.default_rng(seed), torch.from_numpy(np.asarray(labels, np.float32))
    with tqdm(total=epochs * len(labels), unit=" images", desc="training a tagger") as progress:
        for _ in range(epochs):
            order = rng.permutation(len(labels))
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    odds = model(images(chosen))
                optimiser.zero_grad()
                F.binary_cross_entropy_with_logits(odds.float(), targets[chosen]).backward()
                optimiser.step()
                schedule.step()
                progress.update(len(chosen))
    return model.eval()


@torch.no_grad()
def scores(
    model: nn.Module, images: Callable[[np.ndarray], Tensor], count: int, size: int = 256
) -> np.ndarray:
    """Log odds of label 1 of each of `count` jets, with shape `(count,)`.

    Args:
        model: of `train`.
        images: as in `train`.
        count: how many jets there are.
        size: jets in a batch.
    """
    starts = range(0, count, size)
    parts = [model(images(np.arange(start, min(start + size, count)))) for start in starts]
    return torch.cat(parts).float().numpy()
