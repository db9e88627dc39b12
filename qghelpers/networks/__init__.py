"""Networks and their losses: plain `torch.nn`, no files and no training loop.

`base` is the contract between networks and everything else, `JetAutoencoder`, and the registry.
`vae` and `unet` are the networks of the lessons, built from `layers`; `pca` and `sparse_vae` hold
networks of our own. This folder imports only from `data`.
"""

import importlib
import pkgutil

# every module of this folder is imported, so that a network in a new one is registered by itself
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
