"""Rows of pictures of the three channels, drawn by the kernel in the look of `browser`."""

import html
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import torch

from qghelpers import pictures
from qghelpers.analysis import observables
from qghelpers.data import layout
from qghelpers.data.jets import JetImages
from qghelpers.widgets.browser import KINDS, lit
from qghelpers.widgets.sheet import centre, drawn

SAMPLE = 200  # jets that decide the colour scales
SHARE = 0.9  # of these jets whose brightest pixel lies within the colour scale
SIDE = 207  # CSS pixels of a picture, about
STOPS = ",".join("#" + bytes(colour).hex() for colour in pictures.ENERGY[1::32])
BAR = (  # the colours from the floor to the top of a scale
    '<span style="display: inline-block; width: 60px; height: 9px; '
    f'background: linear-gradient(to right, {STOPS})"></span>'
)
TOLD = {"mass [GeV]": "mass", "girth": "girth", "pTD": "pTD"}  # observables, with their units


def measured(energies: np.ndarray) -> dict[str, np.ndarray]:
    """Some observables of images in GeV, `(n, 3, 125, 125)`, by name and unit; each `(n,)`."""
    values = observables.observables(torch.from_numpy(energies) / layout.GEV_PER_UNIT)
    return {title: values[name] for title, name in TOLD.items()}


def named(jets: JetImages, number: int) -> str:
    """A jet in words."""
    jet = jets[[number]]
    kind = KINDS.get(jet.labels[0], str(jet.process[0]))
    return f"jet {number} · {kind} · pT {jet.pt[0]:.4g} GeV · mass {jet.mass[0]:.4g} GeV"


@dataclass(frozen=True)
class Row:
    """Pictures beside each other.

    Attributes:
        title: what they show.
        energies: in GeV, with shape `(3, 125, 125)`.
        signed: whether they are a difference, which may be negative.
    """

    title: str
    energies: np.ndarray
    signed: bool = False


class Panels(ipywidgets.HTML):
    """Rows of pictures below a line of text.

    Args:
        sample: images in GeV that decide the colour scales, with shape `(n, 3, 125, 125)`.
        half: pixels shown on each side of the one in the centre.

    Attributes:
        scales: one for each channel, which stay as they are.
        rows: those that are shown.
    """

    def __init__(self, sample: np.ndarray, half: int) -> None:
        super().__init__()
        self.scales = [pictures.common_scale(c, SHARE) for c in sample.swapaxes(0, 1)]
        self.rows: list[Row] = []
        self._shown = centre(half)
        self._edge = (2 * half + 1) * max(1, round(SIDE / (2 * half + 1)))  # CSS pixels

    def show(self, told: str, *rows: Row) -> None:
        """Draw these rows below a text, which is HTML."""
        self.rows = list(rows)
        heads = "".join(
            f'<th style="font: 12px sans-serif; text-align: left">'
            f"<b>{channel}</b> {scale.floor:.2g} {BAR} {scale.top:.2g} GeV</th>"
            for channel, scale in zip(layout.CHANNELS, self.scales, strict=True)
        )
        body = "".join(map(self._row, rows))
        self.value = f'<p role="status">{told}</p><table><tr><th></th>{heads}</tr>{body}</table>'

    def _row(self, row: Row) -> str:
        title, totals, cells = html.escape(row.title), row.energies.sum(axis=(1, 2)), ""
        counts = [""] * 3 if row.signed else [f", lit {n}" for n in lit(row.energies[None])[0]]
        for c, levels in enumerate(self._levels(row)):
            picture = b64encode(pictures.png(levels, self._palette(row))).decode()
            total = f"{totals[c]:{'+' if row.signed else ''}.1f}"
            cells += (
                f'<td style="font: 11px sans-serif"><img src="data:image/png;base64,{picture}" '
                f'width="{self._edge}" height="{self._edge}" alt="{title}, {layout.CHANNELS[c]}" '
                'style="image-rendering: pixelated; box-shadow: 0 0 0 1px #888; max-width: none">'
                f"<br>in all {total} GeV{counts[c]}</td>"
            )
        return f'<tr><th style="width: 120px; font: 12px/1.3 sans-serif">{title}</th>{cells}</tr>'

    def _levels(self, row: Row) -> list[np.ndarray]:
        """The levels of the part that is shown, for each channel."""
        parts = zip(self.scales, row.energies[:, self._shown, self._shown], strict=True)
        return [s.signed_levels(e) if row.signed else s.levels(e) for s, e in parts]

    @staticmethod
    def _palette(row: Row) -> np.ndarray:
        return pictures.DIFFERENCE if row.signed else pictures.ENERGY

    def told_rows(self) -> list[Row]:
        """Those in which something is to be seen: a difference of nothing is left out."""
        return [row for row in self.rows if not row.signed or row.energies.any()]

    def picture(self) -> bytes:
        """The same rows as one PNG."""
        rows = self.told_rows()
        strips = [self._palette(row)[np.concatenate(self._levels(row))] for row in rows]
        return drawn(strips, [row.title for row in rows], list(layout.CHANNELS))


class OwnKeys(anywidget.AnyWidget):
    """Keeps the keys pressed in an explorer from the notebook, where d d deletes a cell."""

    _esm = """
    export default { render({ el }) {
      requestAnimationFrame(() => {  // when it is in its place
        const whole = el.closest(".widget-vbox");
        if (whole) whole.dataset.lmSuppressShortcuts = "true";  // as JupyterLab has it
        for (const kind of ["keydown", "keyup", "keypress"])  // and others
          whole?.addEventListener(kind, (event) => event.stopPropagation());
      });
    } };
    """


class Explorer(ipywidgets.VBox):
    """Controls above pictures. Where they cannot be moved, a picture stands in their place.

    Args:
        text: what it is, in a few words.
        controls: from the top down.
        panels: the pictures.
    """

    def __init__(self, text: str, controls: list[ipywidgets.Widget], panels: Panels) -> None:
        self.panels, self._text = panels, text
        super().__init__([*controls, OwnKeys(), panels])

    def static(self) -> tuple[bytes, str]:
        """A PNG of what is shown, and what it shows in words."""
        titles = " and ".join(row.title for row in self.panels.told_rows())
        return self.panels.picture(), f"{titles}, in {', '.join(layout.CHANNELS)}"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = super()._repr_mimebundle_(**options)
        picture, words = self.static()
        data |= {"image/png": b64encode(picture).decode(), "text/plain": self._text}
        return data, {"image/png": {"alt": f"{words}; run the notebook to move it"}}
