"""Reconstructions that need no network: what every network has to be set beside.

All of them offer what networks do: `scaling`, `reconstruct` to scaled images and
`reconstruct_gev` to images in GeV/100.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from qghelpers.data.jets import JetImages
from qghelpers.networks.pca import BATCH, PrincipalComponents
from qghelpers.networks.scaling import blank


@dataclass(frozen=True)
class Baseline:
    """A reconstruction by a formula.

    Attributes:
        scaling: a fitted scaling, in whose space it works.
        formula: from scaled images `(n, 3, 125, 125)` to such images.
        parameters: how many numbers were fitted.
    """

    scaling: nn.Module
    formula: Callable[[Tensor], Tensor]
    parameters: int

    def reconstruct(self, images: Tensor) -> Tensor:
        """Scaled reconstruction of images in GeV/100, with their shape."""
        return self.formula(self.scaling(images))

    def reconstruct_gev(self, images: Tensor) -> Tensor:
        """Reconstruction in GeV/100 of images in GeV/100, with their shape."""
        return self.scaling.inverse(self.reconstruct(images))


def zero(scaling: nn.Module) -> Baseline:
    """Answer every jet with an image of zeros: what a sparse image's metrics must be held to."""
    image = blank(scaling)
    return Baseline(scaling, lambda scaled: image.expand_as(scaled), 0)


def mean(scaling: nn.Module, train: JetImages) -> Baseline:
    """Answer every jet with the mean scaled image of the training jets."""
    total = sum(scaling(images).double().sum(dim=0) for images in train.batches(BATCH))
    image = (total / len(train)).float()
    return Baseline(scaling, lambda scaled: image.expand_as(scaled), image.numel())


def pca(scaling: nn.Module, train: JetImages, components: int) -> Baseline:
    """Project every jet on the principal components of the training jets' scaled images.

    The best linear autoencoder with this many latent numbers, or with one less than there are
    jets.
    """
    linear = PrincipalComponents(min(components, len(train) - 1)).fit(scaling, train)
    parameters = linear.axes.numel() + linear.centre.numel()
    return Baseline(scaling, lambda scaled: linear.decode(linear.encode(scaled)), parameters)


def usual(scaling: nn.Module, train: JetImages, components: int) -> dict[str, Baseline]:
    """All three, by name."""
    return {
        "all-zero image": zero(scaling),
        "mean image": mean(scaling, train),
        f"PCA, {components} numbers": pca(scaling, train, components),
    }
