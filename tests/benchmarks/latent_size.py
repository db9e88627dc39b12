"""How the error falls with the size of the code: a VAE and PCA, with 2 to 64 numbers.

    python tests/benchmarks/latent_size.py --data weights_jets.hdf5 --test test_777.hdf5 \
        --out runs/latent_size

PCA is fitted to the logarithm of the pixels. The VAE is the one on the detector's grid with a
calibrated loss (`TowerVAE`, notebook 2, rung 5), and adds to what PCA of its size says, from which
it starts, as that of the recipe `fast` does: in so few steps it learns little from nothing. Each
size is a training of its own, from the same jets in the same order. Writes the table and the
pictures that `latent.by_size()` reads. What is trained already in `--out` is not trained again.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import qghelpers as qg
from qghelpers import baselines, latent, metrics
from qghelpers.analysis.pretrained import WEIGHTS
from qghelpers.data.hdf5 import replacing
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.pca import PrincipalComponents
from qghelpers.networks.sparse_vae import TowerVAE

SIZES = (2, 4, 8, 16, 32, 64)
TRAIN, VALIDATION, EPOCHS = 8000, 1000, 2
WIDTHS = (32, 128)  # narrower than its default: four times as fast
HALF = 34  # pixels of a picture on each side of its centre
COMMANDS = (
    "python -m qghelpers simulate data/weights_jets.hdf5 --jets 50000 --seed 2026",
    "python -m qghelpers simulate data/test_777.hdf5 --jets 5000 --seed 777",
    "python tests/benchmarks/latent_size.py --data data/weights_jets.hdf5 "
    "--test data/test_777.hdf5 --out runs/latent_size",
)


class FromPCA(TowerVAE):
    """A `TowerVAE` that adds to the principal components, which stay as they are."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim, widths=WIDTHS)
        torch.nn.init.zeros_(self.to_posterior.weight)
        torch.nn.init.zeros_(self.to_posterior.bias)
        self.principal = PrincipalComponents(latent_dim)

    def prepare(self, train: qg.JetImages) -> None:
        """Start from the posterior variance that costs least, given the decoder's first sigma."""
        self.principal.fit(self.scaling, train)
        pull = self.principal.spread / self.image.log_sigma.exp().mean()
        variance = 1 / (1 + pull.square())
        self.to_posterior.bias.data[self.latent_dim :] = torch.logit(variance)

    def posterior(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mu, log_variance = super().posterior(images)
        return mu + self.principal.encode(self.scaling(images)), log_variance

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return super().decode(z) + self.principal.decode(z)


def trained(size: int, train: qg.JetImages, validation: qg.JetImages, out: Path) -> FromPCA:
    """A VAE with this many numbers; that of an earlier run, if it is finished."""
    torch.manual_seed(0)
    model = FromPCA(size)
    recipe = qg.get_recipe("vae", "sparse", epochs=EPOCHS)
    engine = qg.Engine(precision="32-true", compile=False)
    qg.fit(model, train, validation, recipe, out=out / f"{size}", resume=True, engine=engine)
    return model


def errors(model: JetAutoencoder, jets: qg.JetImages) -> np.ndarray:
    """Squared error of each jet and channel in the model's space, `(n, 3)`."""

    def of_batch(images):
        off = model.scaling(images) - model.eval().reconstruct(images)
        return off.square().sum(dim=(2, 3))

    return jets.map(of_batch, metrics.BATCH)


def relative(own: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """Error relative to blank, of all channels and of each, and its uncertainty: `(4, 2)`."""
    columns = [own.sum(axis=1), *own.T], [blank.sum(axis=1), *blank.T]
    return np.array([metrics.ratio(a, b) for a, b in zip(*columns, strict=True)])


def picture(model: JetAutoencoder, jets: qg.JetImages, jet: int) -> np.ndarray:
    """The centre of a jet's reconstruction in GeV/100, as half-precision numbers."""
    image = qg.reconstruct(model, jets.images(jet)).clamp_min(0).numpy()
    return centre(image)


def centre(image: np.ndarray) -> np.ndarray:
    middle = slice(image.shape[-1] // 2 - HALF, image.shape[-1] // 2 + HALF + 1)
    return image[:, middle, middle].astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    jets, test = qg.load_jets(args.data, TRAIN + VALIDATION), qg.load_jets(args.test)
    share = TRAIN / (TRAIN + VALIDATION)
    train, validation, *_ = jets.split((share, 1 - share), seed=0)
    models = {("VAE", size): trained(size, train, validation, args.out) for size in SIZES}
    space = qg.LogScale()
    models |= {("PCA", size): baselines.pca(space, train, size) for size in SIZES}
    blank = errors(baselines.zero(space), test)
    own = {name: errors(model, test) for name, model in models.items()}
    share_of_blank = own["VAE", SIZES[-1]].sum(axis=1) / blank.sum(axis=1)
    jet = int(np.argsort(share_of_blank)[len(test) // 2])  # neither easy nor hard
    table = {"sizes": np.array(SIZES), "jet": centre(test.images(jet).numpy())}
    for kind in ("VAE", "PCA"):
        rows = [relative(own[kind, size], blank) for size in SIZES]
        table[f"errors {kind}"] = np.array(rows, np.float32)
        table[f"images {kind}"] = np.stack([picture(models[kind, s], test, jet) for s in SIZES])
    used = [
        int(latent.active_dimensions(latent.encode(models["VAE", s], test)).sum()) for s in SIZES
    ]
    gains = [metrics.ratio(own["VAE", s].sum(1), own["PCA", s].sum(1)) for s in SIZES]
    notes = {"active": np.array(used), "VAE by PCA": np.array(gains, np.float32)}
    notes |= {"jets": np.array([TRAIN, EPOCHS, len(test)]), "commands": np.array(COMMANDS)}
    with replacing(WEIGHTS / "latent-size.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **table, **notes)
    for size, vae, pca, active in zip(
        SIZES, table["errors VAE"], table["errors PCA"], used, strict=True
    ):
        print(size, vae[0], pca[0], active, file=sys.stdout)


if __name__ == "__main__":
    main()
