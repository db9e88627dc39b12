"""Widgets that compute what they show, so they need a running kernel; `widgets` do without one.

`codes` moves a jet through the latent space, and walks from one jet to another; `reconstructions`
shows any jet beside what any network makes of it; `thresholds` cuts on an anomaly score. Their
pictures are `panels`, in the look of `browser`.
"""

from qghelpers.explorers.codes import explore, interpolate
from qghelpers.explorers.reconstructions import explore_reconstructions
from qghelpers.explorers.thresholds import explore_threshold

__all__ = ["explore", "explore_reconstructions", "explore_threshold", "interpolate"]
