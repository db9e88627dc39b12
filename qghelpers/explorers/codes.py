"""Move a jet through the latent space, or walk from one jet to another."""

import html
from typing import Any

import ipywidgets
import numpy as np
import torch

from qghelpers.analysis import latent
from qghelpers.data import layout
from qghelpers.data.jets import JetImages
from qghelpers.explorers.panels import SAMPLE, Explorer, Panels, Row, measured, named
from qghelpers.networks.base import JetAutoencoder
from qghelpers.widgets.browser import EMPTY, Browser, browse, half_side

REACH = 3.0  # standard deviations of the prior that a slider spans on each side


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
        return CodeExplorer(model, jets, sliders, half_side(half_width))
    except (TypeError, ValueError) as error:
        return Browser.message(str(error))


def interpolate(
    model: JetAutoencoder,
    jets: JetImages,
    first: int,
    second: int,
    steps: int = 21,
    half_width: float = 0.6,
) -> Any:
    """Walk on a straight line from the code of one jet to that of another, and browse the images.

        qg.interpolate(model, test, 0, 5)

    All is computed once: like `browse`, it is then moved without the kernel. It tells the share of
    the way, and some observables of each decoded image.

    Args:
        model: a generative network.
        jets: of which these two are taken.
        first, second: their numbers.
        steps: images on the way, both ends included.
        half_width: shown on each side of the centre at first, in eta and in radians.

    Returns:
        What a notebook shows; a line if the network is not generative, or there is no such jet.
    """
    try:
        for number in (first, second):
            if not 0 <= number < len(jets):
                raise ValueError(f"there is no jet {number}: 0 to {len(jets) - 1}")
        if steps < 2:
            raise ValueError(f"steps is {steps}: a walk has at least its two ends")
        ends, _ = latent.posterior(model, jets[[first, second]])
    except (TypeError, ValueError) as error:
        return Browser.message(str(error))
    share = np.linspace(0, 1, steps)
    energies = decoded(model, ends[0] + share[:, None] * (ends[1] - ends[0]))
    columns = {"share of the way": share, **measured(energies)}
    images = energies / layout.GEV_PER_UNIT
    return browse(images, steps, "step", columns=columns, half_width=half_width)


def decoded(model: JetAutoencoder, codes: np.ndarray) -> np.ndarray:
    """Images in GeV, `(n, 3, 125, 125)`, of codes with shape `(n, latent_dim)`."""
    return layout.GEV_PER_UNIT * latent.decode(model, codes, energy=True).cpu().numpy()


class CodeExplorer(Explorer):
    """The widgets of `explore`.

    Attributes:
        code: the latent numbers that are shown, with shape `(latent_dim,)`.
        energies: what the network makes of them in GeV, with shape `(3, 125, 125)`.
    """

    def __init__(self, model: JetAutoencoder, jets: JetImages, sliders: int, half: int) -> None:
        self._model, self._jets = model, jets
        means, log_variance = latent.posterior(model, jets[:SAMPLE])
        nats = latent.kl_per_dimension(means, log_variance)
        order = np.argsort(-nats)
        wide = {"description_width": "initial"}
        self.jet = ipywidgets.BoundedIntText(
            0, max=len(jets) - 1, description="start from jet", style=wide
        )
        self.reset = ipywidgets.Button(description="reset", tooltip="back to the jet's own numbers")
        self.random = ipywidgets.Button(description="random", tooltip="draw all from the prior")
        self.draw = ipywidgets.Button(
            description="draw an image", tooltip="pixel by pixel: one of many with these numbers"
        )
        titles = [(f"number {i} ({nats[i]:.2f} nats)", int(i)) for i in order]
        self.rows = [self._row(titles, place) for place in range(min(sliders, len(order)))]
        self.jet.observe(lambda _: self._start(), names="value")
        self.reset.on_click(lambda _: self._start())
        self.random.on_click(lambda _: self._take_random())
        self.draw.on_click(lambda _: self._show(drawn=True))
        buttons = [self.reset, self.random] + [self.draw] * model.draws_pixels
        controls = [ipywidgets.HBox([self.jet, *buttons])]
        controls += map(ipywidgets.HBox, self.rows)
        panels = Panels(decoded(model, means), half)
        super().__init__(f"explorer of {len(order)} latent numbers", controls, panels)
        self._start()

    def _row(self, titles: list[tuple[str, int]], place: int) -> tuple[Any, Any]:
        """A choice of a latent number, and the slider that moves it."""
        which = ipywidgets.Dropdown(options=titles, index=place)
        slider = ipywidgets.FloatSlider(
            min=-REACH, max=REACH, step=0.1, layout={"width": "460px"}, readout_format="+.1f"
        )
        which.observe(lambda _: self._set_sliders(), names="value")
        slider.observe(lambda change: self._move(which.value, change["new"]), names="value")
        return which, slider

    def _start(self) -> None:
        """Take the numbers of the jet that is named."""
        means, _ = latent.posterior(self._model, self._jets[[self.jet.value]])
        self._origin = decoded(self._model, means)[0]
        self._take(means[0])

    def _take_random(self) -> None:
        self._take(np.random.default_rng().standard_normal(self.code.shape))

    def _take(self, code: np.ndarray) -> None:
        self.code = code.astype(float)
        self._reach = np.maximum(REACH, abs(self.code))  # of the sliders: not less than is needed
        self._set_sliders()
        self._show()

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
            self._show()

    def _show(self, drawn: bool = False) -> None:
        self.energies = decoded(self._model, self.code[None])[0]
        told = f"start: {html.escape(named(self._jets, self.jet.value))}"
        both = measured(np.stack([self.energies, self._origin]))
        values = [f"{title} {now:.3g} ({start:.3g})" for title, (now, start) in both.items()]
        told += f"<br>of ECAL and HCAL, decoded (at the start): {' · '.join(values)}"
        change = Row("difference to the start", self.energies - self._origin, signed=True)
        told += "<br>orange is more than at the start, violet less"
        images = [Row("one that is drawn", self._one())] if drawn else []
        self.panels.show(told, Row("decoded", self.energies), *images, change)

    def _one(self) -> np.ndarray:
        """One of the images in GeV that these numbers stand for."""
        weights = next(self._model.parameters())
        code = torch.as_tensor(self.code[None], dtype=weights.dtype, device=weights.device)
        drawn = self._model.drawn(code, torch.randint(2**62, (1,)))[0]
        return layout.GEV_PER_UNIT * drawn.cpu().numpy()

    def static(self) -> tuple[bytes, str]:
        picture, words = super().static()
        return picture, f"{words}, from {named(self._jets, self.jet.value)}"
