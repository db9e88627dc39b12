"""Figures. Every function takes arrays and returns a matplotlib figure; none shows it.

`jets` draws particles and images, `curves` numbers of many jets, `latent` what a code looks like;
`frames` is what they share.
"""

import lazy_loader

_NAMES = {
    "frames": ["robust_limits"],
    "jets": ["bent_tracks", "feature_maps", "gallery", "images", "particles", "reconstruction"],
    "curves": [
        *("bars", "comparison", "histograms", "loss_curves"),
        *("roc_curves", "scatter_by_label", "score_histograms"),
    ],
    "latent": ["clouds", "coloured", "grid", "lines"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
