"""Do more ordinary jets make the small network of notebook 5 a better anomaly detector?

Network and PCA are trained on the 400 jets of the notebook and on 9,600 others, both with the
momenta of tops, and judged on jets that neither has seen. Simulating them takes half an hour.
"""

import ast
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import torch
from sklearn.decomposition import PCA

import qghelpers as qg
from qghelpers import anomaly, metrics, observables
from qghelpers.data.jets import JetImages
from qghelpers.seeds import Seed
from qghelpers.simulation.simulate import simulate

ORDINARY, TOPS, JUDGED = 12_000, 3000, 2000
COMPONENTS = (8, 16, 32, 64, 128)
NETWORKS = 3  # each from another random start
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ordinary, tops = Path(folder) / "ordinary.hdf5", Path(folder) / "tops.hdf5"
        simulate(tops, TOPS, Seed.HARD_TRAINING, process="top")
        simulate(ordinary, ORDINARY, Seed.HARD_TRAINING_MATCHED, like=tops)
        print(table(qg.load_jets(ordinary), qg.load_jets(tops)))


if __name__ == "__main__":
    main()
