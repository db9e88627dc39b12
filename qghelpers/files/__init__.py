"""Files as people have them: look into one, convert one, fetch the public one.

`inspection` reports what is in a file; `convert` makes a file with the public layout from one with
other names, labels or units, or from a Parquet file; `fetch` downloads the public file. This
subpackage imports `data` only.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["convert", "fetch", "inspection"])
