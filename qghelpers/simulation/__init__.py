"""Simulation: from proton collisions to a file of jet images.

`processes` lists the collisions that can be simulated; `pythia` generates them; `selection` says
which jets are kept; `pileup` adds the other collisions of the same bunch crossing; `detector` says
what happens to `particles` on their way, and `images` makes pixels of it; `simulate` combines these
steps. Of the other subpackages it imports only `data`.
"""

import lazy_loader

_MODULES = [
    "detector",
    "images",
    "particles",
    "pileup",
    "processes",
    "pythia",
    "selection",
    "simulate",
]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
