"""Autoencoders for quark and gluon jet images: data, networks, training, pictures."""

from qghelpers.claims import claim
from qghelpers.engine import Engine
from qghelpers.files import DataError
from qghelpers.jets import JetImages
from qghelpers.loading import home, load_jets
from qghelpers.metrics import reconstruct
from qghelpers.pretrained import load_pretrained, pretrained_card
from qghelpers.progress import TensorBoard
from qghelpers.recipes import Recipe, build, get_recipe
from qghelpers.runs import load_run, read_history
from qghelpers.scaling import LogScale, ZScore
from qghelpers.training import fit
from qghelpers.unet import UNetAutoencoder
from qghelpers.vae import VAE, vae_loss
from qghelpers.widgets import LossCurve

__all__ = [
    "VAE",
    "DataError",
    "Engine",
    "JetImages",
    "LogScale",
    "LossCurve",
    "Recipe",
    "TensorBoard",
    "UNetAutoencoder",
    "ZScore",
    "build",
    "claim",
    "fit",
    "get_recipe",
    "home",
    "load_jets",
    "load_pretrained",
    "load_run",
    "pretrained_card",
    "read_history",
    "reconstruct",
    "vae_loss",
]
