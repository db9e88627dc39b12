"""How good is a trained network? The table of a run, with every figure beside its control.

`table` judges a run on held-out jets beside its baselines; `samples` asks whether drawn jets can
be told from true ones, `probes` what a code knows of quark and gluon; `tagger` is a supervised
network, with which both look at images; `features` writes the codes of a file for other programs;
`commands` has the options of both on the command line.
"""

import lazy_loader

_MODULES = ["commands", "features", "probes", "samples", "table", "tagger"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
