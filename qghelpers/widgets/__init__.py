"""What makes a notebook alive: sliders to browse with, live pictures, claims that are checked.

`sliders` shows a figure for each position of a slider; `live` redraws the loss curve while a
network is trained; `claims` prints a line of the lesson if it holds.
"""

from qghelpers.widgets.claims import claim
from qghelpers.widgets.live import LossCurve
from qghelpers.widgets.sliders import browse, render

__all__ = ["LossCurve", "browse", "claim", "render"]
