"""Questions asked of a trained network.

`metrics` says how good its reconstructions are, beside `baselines` that need no network;
`observables` is what a physicist measures of a jet image; `latent` and `anomaly` ask what the
code knows and which jets are unusual; `evaluation` makes the table of a run; `pretrained` loads
the weights that come with the package.
"""

import lazy_loader

_MODULES = ["anomaly", "baselines", "evaluation", "latent", "metrics", "observables", "pretrained"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
