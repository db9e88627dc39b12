"""What makes a notebook alive: sliders to browse with, live pictures, claims that are checked.

`browser` shows jets in the page, without the kernel (its script is `browser.js`), or the picture of
`sheet` where no script runs; `sliders` draws a figure for each position of a slider; `live`
redraws the loss curve while a network is trained; `claims` prints a line of the lesson if it holds;
`exercises` tells a reader whether an answer is right.
"""

from qghelpers.widgets.browser import Browser, browse
from qghelpers.widgets.claims import claim
from qghelpers.widgets.exercises import check
from qghelpers.widgets.live import LossCurve
from qghelpers.widgets.sliders import render

__all__ = ["Browser", "LossCurve", "browse", "check", "claim", "render"]
