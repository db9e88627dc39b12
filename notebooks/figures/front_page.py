"""The picture of the README: `python notebooks/figures/front_page.py` writes front_page.png.

A quark jet and a gluon jet of those that come with the package, which no shipped network has seen,
and what two shipped networks make of them. Each channel has one colour scale in all columns.
"""

import sys
from importlib import resources
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LogNorm

import qghelpers as qg
from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT
from qghelpers.pictures import COLOUR_MAP, common_scale

SAMPLE = resources.files("qghelpers.simulation") / "samples" / "qcd.hdf5"
NETWORKS = {"VAE, 64 numbers": "vae", "U-Net": "unet"}
SHOWN = slice(32, 93)  # pixels about the centre


def columns() -> dict[str, np.ndarray]:
    """What each column shows, in GeV, with shape `(3, 61, 61)`."""
    with resources.as_file(SAMPLE) as path, h5py.File(path) as file:
        labels, images = file["y"][:], file["X_jets"][:].transpose(0, 3, 1, 2)
    shown = {}
    for name, label in (("Quark jet", 1), ("Gluon jet", 0)):
        lit = (images[labels == label, 1] > 0).sum(axis=(1, 2))
        jet = np.flatnonzero(labels == label)[np.argsort(lit)[len(lit) // 2]]  # a typical one
        image = torch.from_numpy(images[[jet]])
        shown[name] = image
        for title, network in NETWORKS.items():
            shown[f"{name}\n{title}"] = qg.reconstruct(qg.load_pretrained(network), image)
    return {name: GEV_PER_UNIT * image[0, :, SHOWN, SHOWN].numpy() for name, image in shown.items()}


def draw(path: str) -> None:
    """Draw the picture into a file."""
    shown = columns()
    figure, axes = plt.subplots(3, len(shown), figsize=(9.6, 4.9), layout="constrained")
    for row, channel in enumerate(CHANNELS):
        scale = common_scale(np.stack([image[row] for image in shown.values()]))
        for ax, (title, image) in zip(axes[row], shown.items(), strict=True):
            pixels = np.ma.masked_less(image[row], scale.floor)
            mesh = ax.imshow(pixels.T, COLOUR_MAP, LogNorm(scale.floor, scale.top), origin="lower")
            ax.set(xticks=[], yticks=[])
            ax.set_title("" if row else title.partition("\n")[2] or title, fontsize=10)
        axes[row, 0].set_ylabel(channel)
        figure.colorbar(mesh, ax=axes[row], label="GeV", pad=0.01, aspect=12)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(*sys.argv[1:] or [str(Path(__file__).with_suffix(".png"))])
