"""From colliding protons to a file of jet images.

`processes` lists the collisions that can be simulated; `pythia` makes them; `pileup` adds the
other collisions of the same bunch crossing; `detector` turns particles into images; `simulate`
does it all, for many jets and on many cores. It needs only `data`, whose file layout it writes.
"""

import lazy_loader

_MODULES = ["detector", "particles", "pileup", "processes", "pythia", "simulate"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
