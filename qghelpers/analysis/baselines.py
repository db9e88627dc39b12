"""Reconstructions that need no training: what every network has to be set beside."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qghelpers.data.jets import JetImages
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.layers import scaled_zero
from qghelpers.networks.pca import BATCH, PrincipalComponents

__all__ = ["Baseline", "all_baselines", "mean", "pca", "zero", "zero_loss"]
__dir__ = __all__.copy  # these names alone are offered by <Tab>


class Baseline(JetAutoencoder):
    """A reconstruction by a formula, fitted and not trained.

    Args:
        scaling: a fitted scaling, in whose units it works.
        decode: from codes `(n, k)` to scaled images `(n, 3, 125, 125)`.
        encode: from scaled images to codes; no numbers at all unless given.
        fitted: how many numbers were fitted.
    """

    def __init__(
        self,
        scaling: nn.Module,
        decode: Callable[[Tensor], Tensor],
        encode: Callable[[Tensor], Tensor] | None = None,
        fitted: int = 0,
    ) -> None:
        super().__init__()
        self.scaling, self._fitted, self._decode = scaling, fitted, decode
        self._encode = encode or (lambda scaled: scaled.new_zeros(len(scaled), 0))

    def encode(self, images: Tensor) -> Tensor:
        """Code `(n, k)` of images in GeV/100; k is 0 where all images have the same answer."""
        return self._encode(self.scaling(images))

    def reconstruct(self, images: Tensor) -> Tensor:
        return self._decode(self.encode(images))

    def parameter_count(self) -> int:
        return self._fitted

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Sum of squared errors of each image, `(n,)`."""
        return {"loss": self.error(self.scaling(images), self.reconstruct(images))}


def _always(image: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda code: image.expand(len(code), *image.shape)


def zero(scaling: nn.Module) -> Baseline:
    """Answer every jet with an image of zeros: what a sparse image's metrics must be held to."""
    return Baseline(scaling, _always(scaled_zero(scaling)))


def mean(scaling: nn.Module, train: JetImages) -> Baseline:
    """Answer every jet with the mean scaled image of the training jets."""
    total = sum(scaling(images).double().sum(dim=0) for images in train.batches(BATCH))
    image = (total / len(train)).float()
    return Baseline(scaling, _always(image), fitted=image.numel())


def pca(scaling: nn.Module, train: JetImages, components: int) -> Baseline:
    """Project every jet on the principal components of the training jets' scaled images.

    The best linear autoencoder with this many latent numbers, or with one less than there are
    jets.
    """
    linear = PrincipalComponents(min(components, len(train) - 1)).fit(scaling, train)
    fitted = linear.axes.numel() + linear.centre.numel()
    return Baseline(scaling, linear.decode, linear.encode, fitted)


def all_baselines(scaling: nn.Module, train: JetImages, components: int) -> dict[str, Baseline]:
    """All three, by name."""
    return {
        "all-zero image": zero(scaling),
        "mean image": mean(scaling, train),
        f"PCA, {components} numbers": pca(scaling, train, components),
    }


@torch.no_grad()
def zero_loss(model: JetAutoencoder, jets: JetImages) -> float:
    """What the network's loss would count if it answered every jet with an image of zeros.

    The mean over the jets of the network's `error`, without other parts such as a divergence.
    """
    blank = zero(model.scaling)
    errors = (
        model.error(model.scaling(images), blank.reconstruct(images))
        for images in jets.batches(BATCH)
    )
    return sum(error.double().sum().item() for error in errors) / len(jets)
