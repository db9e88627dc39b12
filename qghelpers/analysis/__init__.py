"""Questions asked of a trained network.

`metrics` says how good its reconstructions are, beside `baselines` that need no network;
`observables` is what a physicist measures of a jet image, `pixels` what becomes of single pixels;
`latent` and `anomaly` ask what the code knows and which jets are unusual; `pretrained` loads the
weights that come with the package.
"""

import lazy_loader

_MODULES = [
    "anomaly",
    "baselines",
    "latent",
    "metrics",
    "observables",
    "pixels",
    "pretrained",
    "tables",
]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
