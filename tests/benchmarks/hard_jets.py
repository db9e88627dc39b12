"""Is the small network of notebook 5 a better anomaly detector with more jets, or normalised?

More jets: network and PCA are trained on the 400 jets of the notebook and on 9,600 others, both
with the momenta of tops, and judged on jets that neither has seen.

Normalised: an autoencoder is trained on to reconstruct its jets well, and badly what else it would
reconstruct well (Yoon, Noh and Park, "Autoencoding under normalization constraints",
arXiv:2105.05735; on jets, Dillon et al., "A normalized autoencoder for LHC triggers",
arXiv:2206.14225). Both directions are asked: trained on tops, and on ordinary jets.

Simulating the jets takes half an hour, training another half, mostly for the second table.
"""

import ast
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

import qghelpers as qg
from qghelpers import anomaly, metrics, observables
from qghelpers.data.jets import JetImages
from qghelpers.seeds import Seed
from qghelpers.simulation.simulate import simulate

ORDINARY, TOPS, JUDGED = 12_000, 3000, 2000
COMPONENTS = (8, 16, 32, 64, 128)
NETWORKS = 3  # each from another random start
PART = 600  # jets of each kind that judge both directions, and as many that give medians
STEPS, STOP = 1000, 250  # of the normalised network's training, and between two judgements
CHAIN = 8  # steps in the code, and as many in the image, from noise to an image that is easy
WEIGHT = 0.1  # of the squares that keep both errors finite
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05_anomaly_detection.ipynb"
OF_THE_PAGE = ("shares_of", "shares", "SmallAutoencoder", "squared_error", "train_network")
OF_THE_PAGE += ("pca_error", "network_error")


def page() -> dict:
    """The notebook's functions and its network, by name."""
    space = {"torch": torch, "nn": torch.nn, "np": np, "anomaly": anomaly}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            if getattr(node, "name", None) in OF_THE_PAGE:
                exec(ast.unparse(node), space)
    return space


def table(ordinary: JetImages, tops: JetImages) -> qg.Table:
    """AUC of each score for tops, after training on few and on many ordinary jets."""
    own = page()
    many, judged, _ = ordinary.split((0.8, 0.15, 0.05), seed=0)
    few, *_ = qg.load_sample("qcd_hard").split((0.4, 0.3, 0.3), seed=0)
    pair = judged, tops[:JUDGED]
    seen = [own["shares"](jets) for jets in pair]
    widths = [observables.of_jets(jets)["girth"] for jets in pair]
    rows = {"girth": {"no training": metrics.auc(*widths)}}
    for jets in (few, many):
        images, column = own["shares"](jets), f"{len(jets):,} jets"
        flat = images.flatten(1).numpy()
        for k in COMPONENTS:
            pca = PCA(k, svd_solver="randomized", random_state=0).fit(flat)
            scores = [own["pca_error"](pca, some) for some in seen]
            rows.setdefault(f"PCA, {k} components", {})[column] = metrics.auc(*scores)
        networks = [own["train_network"](images, seed) for seed in range(NETWORKS)]
        scores = [
            np.mean([own["network_error"](n, some) for n in networks], axis=0) for some in seen
        ]
        rows.setdefault("network", {})[column] = metrics.auc(*scores)
    return qg.Table(rows)


def unit(images: Tensor) -> Tensor:
    """As roots of shares are: not negative, with squares that add up to 1."""
    images = images.clamp_min(0)
    return images / images.square().sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)


def slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


def easy(network: nn.Module, error: Callable, images: Tensor) -> Tensor:
    """Images that the network reconstructs well, found by Langevin steps from random codes."""
    with torch.no_grad():
        codes = network.encoder(images)
        spread = codes.std(dim=0)
        codes = codes.mean(dim=0) + 1.5 * spread * torch.randn_like(codes)
    for _ in range(CHAIN):
        down = slope(lambda code: error(network, unit(network.decoder(code))), codes)
        codes = codes - 0.8 * spread**2 * down + 0.1 * spread * torch.randn_like(codes)
    found = unit(network.decoder(codes)).detach()
    for _ in range(CHAIN):
        down = slope(lambda image: error(network, image), found)
        found = unit(found - 0.05 * down + 0.005 * torch.randn_like(found))
    return found


def normalised(network: nn.Module, error: Callable, images: Tensor, seed: int) -> Iterator[str]:
    """Train on, so that nothing is easy but the jets; stops now and then to be judged."""
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters())
    for step in range(1, STEPS + 1):
        batch = images[torch.randint(len(images), (64,))]
        batch = batch.flip([axis for axis in (2, 3) if torch.rand(()) < 0.5])
        network.train().requires_grad_(False)
        strange = easy(network, error, batch)
        network.requires_grad_(True)
        own, theirs = error(network, batch), error(network, strange)
        loss = (own - theirs + WEIGHT * (own**2 + theirs**2)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % STOP == 0:
            network.eval()
            yield f"normalised, {step:,} steps"


def both_directions(ordinary: JetImages, tops: JetImages) -> qg.Table:
    """AUC of ordinary jets among tops, of networks trained on tops, and the other way round.

    Of networks, the mean and the standard deviation of three trainings; the jets themselves add
    0.01 to 0.02. Of girth, with the bootstrap error. As in the notebook, a two-sided score is how
    far the logarithm of girth or of an error is from its median.
    """
    own, columns = page(), {}
    for name, known, strange in (
        ("ordinary jets among tops", tops, ordinary),
        ("tops among ordinary jets", ordinary, tops),
    ):
        parts = known[:PART], strange[:PART], known[PART : 2 * PART]
        widths = [np.log(observables.of_jets(jets)["girth"]) for jets in parts]
        areas = {"girth": metrics.auc(*widths[:2]), "girth, two-sided": two_sided(*widths)}
        seen = [own["shares"](jets) for jets in parts]
        images = own["shares"](known[2 * PART : len(tops)])
        found: dict[str, list] = {}
        for seed in range(NETWORKS):
            network = own["train_network"](images, seed)
            stops = normalised(network, own["squared_error"], images, seed)
            for stop in itertools.chain(["squared error"], stops):
                errors = [np.log(own["network_error"](network, some)) for some in seen]
                found.setdefault(stop, []).append(metrics.auc(*errors[:2])[0])
                if stop == "squared error":
                    found.setdefault(f"{stop}, two-sided", []).append(two_sided(*errors)[0])
        spread = {stop: (float(np.mean(a)), float(np.std(a, ddof=1))) for stop, a in found.items()}
        columns[name] = areas | spread
    return qg.Table(columns)


def two_sided(known: np.ndarray, strange: np.ndarray, usual: np.ndarray) -> tuple[float, float]:
    return metrics.auc(*(anomaly.two_sided(scores, usual) for scores in (known, strange)))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ordinary, tops = Path(folder) / "ordinary.hdf5", Path(folder) / "tops.hdf5"
        simulate(tops, TOPS, Seed.HARD_TRAINING, process="top")
        simulate(ordinary, ORDINARY, Seed.HARD_TRAINING_MATCHED, like=tops)
        jets = qg.load_jets(ordinary), qg.load_jets(tops)
        print(table(*jets))
        print(both_directions(*jets))


if __name__ == "__main__":
    main()
