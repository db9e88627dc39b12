"""Move a jet through the latent space: the kernel decodes, the look is that of `browser`."""

import html
from base64 import b64encode
from typing import Any

import ipywidgets
import numpy as np

from qghelpers import pictures
from qghelpers.analysis import latent
from qghelpers.data import layout
from qghelpers.data.jets import JetImages
from qghelpers.networks.base import JetAutoencoder
from qghelpers.widgets.browser import EMPTY, KINDS, Browser, half_side, lit
from qghelpers.widgets.sheet import centre, drawn

SAMPLE = 200  # jets that decide the colour scale and the order of the latent numbers
SHARE = 0.9  # of these jets whose brightest pixel lies within the colour scale
REACH = 3.0  # standard deviations of the prior that a slider spans on each side
STOPS = ",".join("#" + bytes(colour).hex() for colour in pictures.ENERGY[1::32])
BAR = (  # the colours from the floor to the top of a scale
    '<span style="display: inline-block; width: 60px; height: 9px; '
    f'background: linear-gradient(to right, {STOPS})"></span>'
)
TITLES = ("decoded", "difference to the start")  # of the two rows of pictures
SIDE = 207  # CSS pixels of a picture


def explore(
    model: JetAutoencoder, jets: JetImages, sliders: int = 4, half_width: float = 0.6
) -> Any:
    """Start from a jet, change its latent numbers, and see what the network makes of them.

        qg.explore(model, test)

    Args:
        model: a generative network.
        jets: to start from.
        sliders: how many latent numbers can be moved at a time; first those that carry most.
        half_width: shown on each side of the centre, in eta and in radians.

    Returns:
        What a notebook shows; a line if the network is not generative, or there are no jets.
    """
    try:
        if not len(jets):
            raise ValueError(EMPTY)
        return Explorer(model, jets, sliders, half_side(half_width))
    except (TypeError, ValueError) as error:
        return Browser.message(str(error))


class Explorer(ipywidgets.VBox):
    """The widgets of `explore`.

    Attributes:
        code: the latent numbers that are shown, with shape `(latent_dim,)`.
        energies: what the network makes of them in GeV, with shape `(3, 125, 125)`.
    """

    def __init__(self, model: JetAutoencoder, jets: JetImages, sliders: int, half: int) -> None:
        self._model, self._jets, self._half = model, jets, half
        means, log_variance = latent.posterior(model, jets[:SAMPLE])
        nats = latent.kl_per_dimension(means, log_variance)
        order = np.argsort(-nats)
        sample = self._decoded(means).swapaxes(0, 1)
        self._scales = [pictures.common_scale(channel, SHARE) for channel in sample]
        wide = {"description_width": "initial"}
        self.jet = ipywidgets.BoundedIntText(
            0, max=len(jets) - 1, description="start from jet", style=wide
        )
        self.reset = ipywidgets.Button(description="reset", tooltip="back to the jet's own numbers")
        self.random = ipywidgets.Button(description="random", tooltip="draw all from the prior")
        named = [(f"number {i} ({nats[i]:.2f} nats)", int(i)) for i in order]
        self.rows = [self._row(named, place) for place in range(min(sliders, len(order)))]
        self._shown = ipywidgets.HTML()
        self.jet.observe(lambda _: self._start(), names="value")
        self.reset.on_click(lambda _: self._start())
        self.random.on_click(lambda _: self._draw_random())
        buttons = ipywidgets.HBox([self.jet, self.reset, self.random])
        super().__init__([buttons, *map(ipywidgets.HBox, self.rows), self._shown])
        self._start()

    def _row(self, named: list[tuple[str, int]], place: int) -> tuple[Any, Any]:
        """A choice of a latent number, and the slider that moves it."""
        which = ipywidgets.Dropdown(options=named, index=place)
        slider = ipywidgets.FloatSlider(
            min=-REACH, max=REACH, step=0.1, layout={"width": "460px"}, readout_format="+.1f"
        )
        which.observe(lambda _: self._set_sliders(), names="value")
        slider.observe(lambda change: self._move(which.value, change["new"]), names="value")
        return which, slider

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        """Images in GeV of codes with shape `(n, latent_dim)`."""
        images = self._model.scaling.inverse(latent.decode(self._model, codes))
        return layout.GEV_PER_UNIT * images.cpu().numpy()

    def _start(self) -> None:
        """Take the numbers of the jet that is named."""
        means, _ = latent.posterior(self._model, self._jets[[self.jet.value]])
        self._origin = self._decoded(means)[0]
        self._take(means[0])

    def _draw_random(self) -> None:
        self._take(np.random.default_rng().standard_normal(self.code.shape))

    def _take(self, code: np.ndarray) -> None:
        self.code = code.astype(float)
        self._reach = np.maximum(REACH, abs(self.code))  # of the sliders: not less than is needed
        self._set_sliders()
        self._draw()

    def _set_sliders(self) -> None:
        """Let the sliders show the code."""
        self._moving = False
        for which, slider in self.rows:
            reach = float(self._reach[which.value])
            slider.min, slider.max = -reach, reach
            slider.value = float(self.code[which.value])
        self._moving = True

    def _move(self, number: int, value: float) -> None:
        if self._moving:
            self.code[number] = value
            self._set_sliders()  # two may show one number
            self._draw()

    def _levels(self) -> list[list[np.ndarray]]:
        """The levels of the image and of its difference to the start, a row each, in the centre."""
        shown = centre(self._half)
        now, before = self.energies[:, shown, shown], self._origin[:, shown, shown]
        rows = [scale.levels(image) for scale, image in zip(self._scales, now, strict=True)]
        changes = zip(self._scales, now - before, strict=True)
        return [rows, [scale.signed_levels(change) for scale, change in changes]]

    def _draw(self) -> None:
        self.energies = self._decoded(self.code[None])[0]
        heads, towers = [], lit(self.energies[None])[0]
        for c, (channel, scale) in enumerate(zip(layout.CHANNELS, self._scales, strict=True)):
            total, before = self.energies[c].sum(), self._origin[c].sum()
            heads.append(
                f'<th style="width: {SIDE}px; font: 12px sans-serif; text-align: left">'
                f"<b>{channel}</b> {scale.floor:.2g} {BAR} {scale.top:.2g} GeV<br>"
                f"in all {total:.1f} GeV ({total - before:+.1f}), lit {towers[c]}</th>"
            )
        body, palettes = "", (pictures.ENERGY, pictures.DIFFERENCE)
        for title, row, palette in zip(TITLES, self._levels(), palettes, strict=True):
            cells = (self._cell(title, c, levels, palette) for c, levels in enumerate(row))
            body += f'<tr><th style="width: 90px">{title}</th>{"".join(cells)}</tr>'
        head = f"<tr><th></th>{''.join(heads)}</tr>"
        told = f'<p role="status">start: {self._told()}; orange is more than there, violet less</p>'
        self._shown.value = f"{told}<table>{head}{body}</table>"

    def _told(self) -> str:
        """The jet at the start, in words."""
        jet = self._jets[[self.jet.value]]
        kind = html.escape(KINDS.get(jet.labels[0], str(jet.process[0])))
        numbers = f"pT {jet.pt[0]:.4g} GeV · mass {jet.mass[0]:.4g} GeV"
        return f"jet {self.jet.value} · {kind} · {numbers}"

    @staticmethod
    def _cell(title: str, c: int, levels: np.ndarray, palette: np.ndarray) -> str:
        picture = b64encode(pictures.png(levels, palette)).decode()
        return (
            f'<td><img src="data:image/png;base64,{picture}" width="{SIDE}" height="{SIDE}" '
            f'style="image-rendering: pixelated; box-shadow: 0 0 0 1px #888" '
            f'alt="{html.escape(title)}, {layout.CHANNELS[c]}"></td>'
        )

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = super()._repr_mimebundle_(**options)
        palettes = (pictures.ENERGY, pictures.DIFFERENCE)
        rows = zip(self._levels(), palettes, strict=True)
        strips = [palette[np.concatenate(row)] for row, palette in rows]
        picture = drawn(strips, ["decoded", "difference"], list(layout.CHANNELS))
        data |= {"image/png": b64encode(picture).decode()}
        data["text/plain"] = f"explorer of {len(self.code)} latent numbers"
        words = f"{' and '.join(TITLES)} of jet {self.jet.value}, in each channel"
        return data, {"image/png": {"alt": f"{words}; run the notebook to move it"}}
