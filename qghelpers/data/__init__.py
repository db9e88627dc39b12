"""Jets on disk and in memory: from an HDF5 file to batches of images.

`hdf5` opens and writes files with the layout of the public one (`layout`), and `checks` says what
is wrong with one; `reading` reads the pixels and `packing` drops the zeros; `cache` stores the
result beside the file; `sparse` holds it in memory; `jets` has the class that all other code uses,
`JetImages`. This subpackage imports no other one.
"""

import lazy_loader

_MODULES = ["cache", "checks", "hdf5", "jets", "layout", "packing", "reading", "sparse"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
