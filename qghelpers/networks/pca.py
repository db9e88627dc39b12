"""Principal components of scaled jet images: the best linear autoencoder, found by a formula."""

import numpy as np
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.jets import JetImages
from qghelpers.data.layout import IMAGE_SHAPE
from qghelpers.networks.scaling import blank

BATCH = 256
SMALLEST = 1e-4  # of the largest spread: a smaller one is rounding


class PrincipalComponents(nn.Module):
    """To a few numbers for each jet, of variance 1, and back; fitted, not trained.

    Pearson, "On lines and planes of closest fit to systems of points in space", Philosophical
    Magazine 2 (1901) 559.

    Args:
        components: how many numbers. Until it is fitted, all of them are 0.

    Attributes:
        spread: standard deviation along each axis, in scaled units, `(components,)`.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        height, width, channels = IMAGE_SHAPE
        self.shape = channels, height, width
        pixels = channels * height * width
        self.axes = nn.Parameter(torch.zeros(components, pixels), requires_grad=False)
        self.centre = nn.Parameter(torch.zeros(pixels), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(components), requires_grad=False)

    def fit(self, scaling: nn.Module, train: JetImages) -> "PrincipalComponents":
        """Take the components from all of `train`; where it has too few, the last numbers stay 0.

        Most pixels are zero, so the images fit into memory as a sparse matrix.

        Raises:
            ValueError: there are fewer than two jets.
        """
        if len(train) < 2:
            raise ValueError("principal components are those of two jets or more: give more jets")
        nothing = blank(scaling).flatten()
        rows = [
            sparse.csr_array((scaling(images).flatten(1) - nothing).numpy())
            for images in train.batches(BATCH)
        ]
        most = min(len(self.spread), len(train) - 1)
        fitted = PCA(most, svd_solver="arpack", random_state=0).fit(sparse.vstack(rows))
        spread = np.sqrt(fitted.explained_variance_)
        found = np.count_nonzero(spread > SMALLEST * spread[0])  # else there are jets that repeat
        self.axes[:found] = torch.from_numpy(fitted.components_[:found])
        self.spread[:found] = torch.from_numpy(spread[:found])
        self.centre.copy_(torch.from_numpy(np.asarray(fitted.mean_)).float() + nothing)
        return self

    def encode(self, scaled: Tensor) -> Tensor:
        """Numbers `(n, components)` of scaled images `(n, 3, 125, 125)`."""
        return F.linear(scaled.flatten(1) - self.centre, self.axes) / self.spread

    def decode(self, numbers: Tensor) -> Tensor:
        """Scaled images `(n, 3, 125, 125)`."""
        return ((numbers * self.spread) @ self.axes + self.centre).view(-1, *self.shape)
