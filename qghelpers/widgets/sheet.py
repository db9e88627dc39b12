"""The static picture that stands in a browser's place where scripts do not run."""

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from qghelpers import pictures
from qghelpers.data import layout

ON_SHEET = 8  # jets in the picture, 2 of several rows


def static_picture(data: dict[str, Any], levels: np.ndarray) -> tuple[bytes, str]:
    """A static picture of the first jets, or of a walk from end to end, and what it shows."""
    several = len(data["rows"]) > 1
    shown = min(len(levels), 2 if several else ON_SHEET)
    a_walk = data["name"] != "jet"
    jets = np.linspace(0, len(levels) - 1, shown).round().astype(int) if a_walk else range(shown)
    names, channels = [_named(data, jet) for jet in jets], range(len(layout.CHANNELS))
    if several:
        rows = enumerate(row["title"] for row in data["rows"])
        strips = {title: [(jet, row, c) for jet in jets for c in channels] for row, title in rows}
        below = [f"{channel}, {name}" for name in names for channel in layout.CHANNELS]
    else:
        strips = {layout.CHANNELS[c]: [(jet, 0, c) for jet in jets] for c in channels}
        below = names
    cells = ([_cell(data, levels, *at) for at in strip] for strip in strips.values())
    titles = " and ".join(row["title"] for row in data["rows"] if row["title"])
    listed = "; ".join(name.replace("\n", ", ") for name in names)
    alt = f"{titles or 'Energy'} in {', '.join(layout.CHANNELS)}, darker for more, of {listed}"
    return drawn([np.concatenate(strip) for strip in cells], list(strips), below), alt


def _cell(data: dict[str, Any], levels: np.ndarray, jet: int, row: int, c: int) -> np.ndarray:
    """The centre of an image as colours, uint8 with shape `(eta, phi, 3)`."""
    shown = centre(data["half"])
    signed = data["rows"][row]["signed"]
    palette = pictures.DIFFERENCE if signed else pictures.ENERGY
    return palette[_stretched(levels[jet, row, c, shown, shown], data["channels"][c], signed)]


def centre(half: int) -> slice:
    """The rows, or columns, up to `half` from the one in the centre."""
    first = layout.IMAGE_SIZE // 2 - half
    return slice(first, first + 2 * half + 1)


def drawn(strips: list[np.ndarray], titles: list[str], below: list[str]) -> bytes:
    """Strips of cells, one below the other, as a PNG: a whole number of its pixels for each."""
    wide, side = strips[0].shape[:2]
    factor = 2 if side <= 80 else 1
    left, foot, gap = 50, 34, 6
    width, height = left + factor * wide + gap, foot + len(strips) * (factor * side + gap)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    for place, (strip, title) in enumerate(zip(strips, titles, strict=True)):
        bottom = foot + (len(strips) - 1 - place) * (factor * side + gap)
        box = left / width, bottom / height, factor * wide / width, factor * side / height
        ax = figure.add_axes(box, xticks=[], yticks=[])
        ax.imshow(strip.swapaxes(0, 1), origin="lower", aspect="auto", interpolation="nearest")
        ax.set_ylabel(title, fontsize=9)
        for edge in range(side, wide, side):
            ax.axvline(edge - 0.5, color="grey", linewidth=0.7)
    ax.set_xticks(side * (np.arange(len(below)) + 0.5) - 0.5, below, fontsize=7)
    ax.tick_params(length=0)
    figure.savefig(buffer := BytesIO(), format="png")
    Image.open(buffer).convert("RGB").quantize(128).save(small := BytesIO(), "PNG", optimize=True)
    return small.getvalue()


def _named(data: dict[str, Any], jet: int) -> str:
    """Number, kind and first quantity of a jet, in two lines."""
    kind = data["kinds"][data["kind"][jet]] if data["kinds"] else ""
    first = data["columns"][:1]
    told = [f"{c['name']} {c['values'][jet]} {c['unit']}".strip() for c in first]
    return "\n".join([f"{data['name']} {jet} {kind}".strip(), *told])


def _stretched(levels: np.ndarray, channel: dict[str, Any], signed: bool) -> np.ndarray:
    """Levels up to `most` as levels up to `top`, which has the darkest colour."""
    scale = pictures.Scale(channel["floor"], channel["most"])
    shown = pictures.Scale(channel["floor"], channel["top"])
    if not signed:
        return shown.levels(scale.energies(levels))
    share = np.where(levels > pictures.SIGNED, levels - pictures.SIGNED - 1, levels)
    size = scale.energies(np.where(share, 1 + 2 * (share.astype(int) - 1), 0))
    return shown.signed_levels(np.where(levels > pictures.SIGNED, -size, size))
