"""How a network is trained, and what a training leaves behind.

`recipes` says how each network is built and trained; `fit` is what users call; `loop` holds the
training loop itself; `progress` what is seen of it; `engine` how it is computed on this machine;
`distributed` what several processes need; `runs` the run folder, `owners` whose it is.
"""

import lazy_loader

_MODULES = ["distributed", "engine", "fit", "loop", "owners", "progress", "recipes", "runs"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
