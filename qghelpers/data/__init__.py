"""Jets on disk and in memory: from an HDF5 file to batches of images.

`hdf5` opens, checks and writes files with the layout of the public one (`layout`); `reading` goes
over the pixels once, fast; `cache` keeps the non-zero ones beside the file; `sparse` holds them in
memory; `jets` is what everyone else sees: `JetImages`. `inspection` reports what is in a file.
This room depends on no other.
"""

import lazy_loader

_MODULES = ["cache", "hdf5", "inspection", "jets", "layout", "packing", "reading", "sparse"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
