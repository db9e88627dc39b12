"""Autoencoders for quark and gluon jet images: data, networks, training, pictures."""

import lazy_loader

# each module is loaded when it is first asked for: all together take seconds
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
