"""Browse jets in the page: all pixels go into the output once, and no kernel is needed after that.

`browser.js` draws them. The output also has a static picture, for where scripts do not run: on
GitHub, in a notebook that is not trusted, in a PDF.
"""

import html
import json
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from qghelpers import pictures
from qghelpers.analysis import observables
from qghelpers.data import layout
from qghelpers.data.jets import JetImages
from qghelpers.widgets.sheet import static_picture
from qghelpers.widgets.sliders import slider

MOST = 200  # jets, unless more are asked for: a page of about a quarter of a megabyte
SHARE = 0.9  # of the jets whose brightest pixel lies within the colour scale
HALF_WIDTHS = (0.6, 0.54)  # of one row and of several, three of which fit a small screen
EMPTY = "no jets to show: the selection is empty"
KINDS = {layout.GLUON: "gluon", layout.QUARK: "quark"}

Images = JetImages | Tensor | np.ndarray


class Browser:
    """What `browse` shows, as a page and as a static picture.

    Attributes:
        html: the whole widget, to be put into any page.
        picture: a PNG; empty if there is nothing to show.
        alt: what the picture shows, in words.
    """

    def __init__(self, html: str, text: str, picture: bytes = b"", alt: str = "") -> None:
        self.html, self.picture, self.alt, self._text = html, picture, alt, text

    @classmethod
    def message(cls, line: str) -> "Browser":
        """What stands in a widget's place if there is nothing to show: a line that says why."""
        return cls(f'<p role="alert" style="color: #a11">{html.escape(line)}</p>', line)

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        data = {"text/html": self.html, "text/plain": self._text}
        if self.picture:
            data["image/png"] = b64encode(self.picture).decode()
        return data, {"image/png": {"alt": self.alt}} if self.picture else {}


def browse(
    shown: Images | Mapping[str, Images] | Callable[[int], Figure],
    count: int = MOST,
    name: str = "jet",
    *,
    jets: JetImages | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    difference: bool = False,
    half_width: float | None = None,
) -> Any:
    """Browse jets with a slider: in the page, so also when the notebook is opened again.

        qg.browse(jets)
        qg.browse({"original": test, "reconstruction": images}, 40, difference=True)

    It tells label, pT, mass, and how many pixels of Tracks and ECAL and towers of HCAL are lit.

    Args:
        shown: jets, or images in GeV/100 with shape `(n, 3, 125, 125)`; or several of them, a row
            of pictures each, by their titles; or a function that draws a figure for a position
            from 0 to `count - 1`, which the kernel then has to do wherever the slider rests.
        count: at most this many, the first ones.
        name: of what is browsed.
        jets: whose labels, pT and mass are told; those in `shown` unless given.
        columns: further quantities, "name [unit]" and a value for each jet with shape `(n,)`, to
            tell and to order by.
        difference: add a row, the last one minus the first.
        half_width: show this much on each side of the centre at first, in eta and in radians;
            0.6 unless given, a little less of several rows.

    Returns:
        What a notebook shows. If there is nothing to show, or the parts do not fit together, it
        shows a line that says so.
    """
    try:
        if count < 1:
            raise ValueError(EMPTY)
        if callable(shown):
            return slider(shown, count, name)
        rows, jets, columns = _collected(shown, count, jets, columns or {})
        if difference and len(rows) < 2:
            raise ValueError("a difference needs two rows of images: give a title for each")
    except ValueError as error:
        return Browser.message(str(error))
    data, levels = _page(rows, jets, columns, difference)
    data |= {"name": name, "half": half_side(half_width or HALF_WIDTHS[len(data["rows"]) > 1])}
    picture, alt = static_picture(data, levels)
    text = f"browser of {len(levels)} {name}s"
    return Browser(_html(data, picture, alt, text), text, picture, alt)


def half_side(half_width: float) -> int:
    """How many pixels are shown on each side of the one in the centre."""
    most = layout.IMAGE_SIZE // 2
    return int(np.clip(round(half_width / layout.PIXEL_WIDTH - 0.5), 1, most))


def _collected(
    shown: Any, count: int, jets: JetImages | None, columns: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], JetImages | None, dict[str, np.ndarray]]:
    """The first `count` of all: images in GeV with their titles, jets and columns.

    Raises:
        ValueError: there are none, or the parts do not fit together.
    """
    rows = dict(shown) if isinstance(shown, Mapping) else {"": shown}
    columns = {title: _numbers(title, values) for title, values in columns.items()}
    for row in rows.values():
        if not isinstance(row, Images):
            what = f"{type(row).__name__} cannot be shown"
            raise ValueError(f"a {what}: give jets, or images with shape (n, 3, 125, 125)")
    parts = rows | columns | ({} if jets is None else {"jets": jets})
    if jets is None:
        jets = next((row for row in rows.values() if isinstance(row, JetImages)), None)
    sizes = {title: len(part) for title, part in parts.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{title or 'images'} {size}" for title, size in sizes.items())
        raise ValueError(f"not as many of each ({listed}): give one value for each jet")
    if not any(sizes.values()):
        raise ValueError(EMPTY)
    first = slice(count)
    energies = {title: _energies(title, row, first) for title, row in rows.items()}
    cut = {title: values[first] for title, values in columns.items()}
    return energies, None if jets is None else jets[first], cut


def _numbers(title: str, values: Any) -> np.ndarray:
    """The values of a column, float with shape `(n,)`; ValueError if they are none."""
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError):
        numbers = np.empty(())
    if numbers.ndim != 1:
        raise ValueError(f'the column "{title}" is no list of numbers: give one for each jet')
    return numbers


def _energies(title: str, row: Images, first: slice) -> np.ndarray:
    """These images in GeV; ValueError if they have another shape, or entries that are no number."""
    images = row.images(first) if isinstance(row, JetImages) else torch.as_tensor(row[first])
    if images.shape[1:] != (len(layout.CHANNELS), layout.IMAGE_SIZE, layout.IMAGE_SIZE):
        shape = ", ".join(map(str, images.shape[1:]))
        raise ValueError(f'images with shape ({shape}) in "{title}": they must be (3, 125, 125)')
    if not images.isfinite().all():
        raise ValueError(f'images in "{title}" have entries that are no numbers')
    return layout.GEV_PER_UNIT * images.detach().cpu().float().numpy()


def _page(
    rows: dict[str, np.ndarray],
    jets: JetImages | None,
    columns: dict[str, np.ndarray],
    difference: bool,
) -> tuple[dict[str, Any], np.ndarray]:
    """What the script needs, and the levels: uint8 with shape `(n, rows, 3, 125, 125)`."""
    images = list(rows.values())
    titles = [{"title": title, "signed": False} for title in rows]
    titles += [{"title": "difference", "signed": True}] * difference
    levels = np.empty((len(images[0]), len(titles), *images[0].shape[1:]), np.uint8)
    channels = []
    for c, channel in enumerate(layout.CHANNELS):
        energies = np.concatenate([image[:, c] for image in images])
        shown = pictures.common_scale(energies, SHARE)
        scale = pictures.Scale(shown.floor, max(float(energies.max()), shown.top))
        for row, image in enumerate(images):
            levels[:, row, c] = scale.levels(image[:, c])
        if difference:
            levels[:, -1, c] = scale.signed_levels(images[-1][:, c] - images[0][:, c])
        channels.append(asdict(shown) | {"name": channel, "most": scale.top})
    kinds, kind, columns = _told(len(levels), jets, columns)
    data = {
        "size": layout.IMAGE_SIZE,
        "pixel": layout.PIXEL_WIDTH,
        "rows": titles,
        "channels": channels,
        "kinds": kinds,
        "kind": kind,
        "columns": columns,
        "lit": np.stack([lit(image) for image in images], axis=1).tolist(),
        "palettes": [_text(p.tobytes()) for p in (pictures.ENERGY, pictures.DIFFERENCE)],
        "levels": _text(zlib.compress(levels.tobytes(), 9)),
    }
    return data, levels


def lit(energies: np.ndarray) -> np.ndarray:
    """Lit pixels in Tracks and ECAL and lit towers in HCAL, int with shape `(n, 3)`."""
    images = torch.from_numpy(energies) / layout.GEV_PER_UNIT
    pixels = observables.lit(images).sum(dim=(2, 3)).numpy()
    return np.rint(pixels / [1, 1, layout.TOWER_SIZE**2]).astype(int)


def _told(
    count: int, jets: JetImages | None, columns: dict[str, np.ndarray]
) -> tuple[list[str], list[int], list[dict[str, Any]]]:
    """The kinds of jets, that of each jet as an index, and the quantities."""
    kinds, kind = [], [0] * count
    if jets is not None:
        named = [KINDS.get(y, str(p)) for y, p in zip(jets.labels, jets.process, strict=True)]
        kinds = sorted(set(named))
        kind = [kinds.index(name) for name in named]
        columns = {"pT [GeV]": jets.pt, "mass [GeV]": jets.mass} | columns
    told = []
    for title, values in columns.items():
        name, unit = re.fullmatch(r"(.*?)\s*(?:\[(.*)\])?", title).groups()
        rounded = [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
        told.append({"name": name, "unit": unit or "", "values": rounded})
    return kinds, kind, told


def _text(content: bytes) -> str:
    return b64encode(content).decode()


def _html(data: dict[str, Any], picture: bytes, alt: str, text: str) -> str:
    """The widget: the static picture, the data, the style and the script."""
    source = files("qghelpers.widgets")
    content = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="qg-browser" role="group" aria-label="{html.escape(text)}" '
        'data-lm-suppress-shortcuts="true">\n'
        f'<img src="data:image/png;base64,{_text(picture)}" alt="{html.escape(alt)}">\n'
        f'<script type="application/json">{content}</script>\n</div>\n'
        f"<style>\n{source.joinpath('browser.css').read_text('utf-8')}</style>\n"
        f"<script>\n{source.joinpath('browser.js').read_text('utf-8')}</script>"
    )
