"""Principal components of jet images, the best linear autoencoder; and a VAE beside them."""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.jets import JetImages
from qghelpers.data.layout import IMAGE_SHAPE, IMAGE_SIZE
from qghelpers.networks.layers import Crop, scaled_zero
from qghelpers.networks.vae import SIDE, VAE

BATCH = 256
MIN_SPREAD = 1e-4  # of the largest spread: a smaller one is rounding
FIT_JETS = 20_000  # that a VAE's components are found from, at most; takes 13 s on two cores


class PrincipalComponents(nn.Module):
    """To a few numbers for each image, of variance 1, and back; fitted, not trained.

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
        """Take the components from all of `train`; with too few jets the last ones stay 0.

        Most pixels are zero, so the images fit into memory as a sparse matrix.

        Raises:
            ValueError: there are fewer than two jets.
        """
        from sklearn.decomposition import PCA  # takes a second, and only a fit needs it

        if len(train) < 2:
            raise ValueError("principal components are those of two jets or more: give more jets")
        nothing = scaled_zero(scaling).flatten()
        rows = [
            sparse.csr_array((scaling(images).flatten(1) - nothing).numpy())
            for images in train.batches(BATCH)
        ]
        most = min(len(self.spread), len(train) - 1)
        fitted = PCA(most, svd_solver="arpack", random_state=0).fit(sparse.vstack(rows))
        spread = np.sqrt(fitted.explained_variance_)
        found = np.count_nonzero(spread > MIN_SPREAD * spread[0])  # fewer if jets are repeated
        self.axes[:found] = torch.from_numpy(fitted.components_[:found])
        self.spread[:found] = torch.from_numpy(spread[:found])
        self.centre.copy_(torch.from_numpy(np.asarray(fitted.mean_)).float() + nothing)
        return self

    def encode(self, scaled: Tensor) -> Tensor:
        """Numbers `(n, components)` of scaled images `(n, 3, 125, 125)`."""
        return F.linear(scaled.flatten(1) - self.centre, self.axes) / self.spread

    def decode(self, numbers: Tensor) -> Tensor:
        """Scaled images `(n, 3, 125, 125)` from numbers `(n, components)`."""
        return ((numbers * self.spread) @ self.axes + self.centre).view(-1, *self.shape)


class PCAVAE(VAE, name="pca-vae"):
    """A VAE that starts as the principal components of its training jets.

    Encoder and decoder add to what the components say, and learn what they miss; the components
    stay as they are. Images are padded with zeros to 128 x 128. The posterior's variance stays
    below 1, the prior's, as that of the best posterior does: otherwise a single mis-measured
    track can make it, and the divergence, as large as numbers get. It has the arguments of `VAE`.
    """

    def __init__(self, latent_dim: int = 32, beta: float = 1.0, scaling: str = "zscore") -> None:
        super().__init__(latent_dim, beta, scaling)
        self.encoder[0] = nn.ZeroPad2d((0, SIDE - IMAGE_SIZE, 0, SIDE - IMAGE_SIZE))
        self.decoder[-1] = Crop(IMAGE_SIZE)
        for layer in (self.decoder[-2], self.to_posterior):  # what is added starts at zero
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.principal = PrincipalComponents(latent_dim)

    def prepare(self, train: JetImages) -> None:
        r"""Find the components, and start from the posterior variance that costs least.

        A number that moves the image by $s$ costs $s^2\sigma^2$ in squared error and $(\sigma^2 -
        \log\sigma^2) / 2$ in divergence, which is least for $\sigma^2 = 1 / (1 + 2 s^2)$.
        """
        self.principal.fit(self.scaling, train[:FIT_JETS])
        variance = 1 / (1 + 2 * self.principal.spread.square())
        self.to_posterior.bias.data[self.latent_dim :] = torch.logit(variance)

    def heads(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_odds = super().heads(scaled)
        return mu + self.principal.encode(scaled), F.logsigmoid(log_odds)

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z) + self.principal.decode(z)
