"""Files as people have them: look into one, convert one, fetch the public one.

`finding` says which files there are; `inspection` reports what is in one; `convert` makes a file
with the public layout from one with other names, labels or units, or from a Parquet file; `fetch`
downloads the public file; `commands` are those of the command line. This subpackage imports
`data` only.
"""

import lazy_loader

_MODULES = ["commands", "convert", "fetch", "finding", "inspection"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
