"""Any jet beside what any network makes of it."""

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
import torch

from qghelpers.analysis import metrics
from qghelpers.data import layout
from qghelpers.data.jets import JetImages, random_rows
from qghelpers.explorers.panels import SAMPLE, Explorer, Panels, Row, named
from qghelpers.networks.base import JetAutoencoder, check_contract
from qghelpers.widgets.browser import EMPTY, Browser, half_side

ORDERS = {"as given": 0, "worst first": -1, "best first": 1}


def explore_reconstructions(
    models: JetAutoencoder | Mapping[str, JetAutoencoder],
    jets: JetImages,
    sample: int = 500,
    half_width: float = 0.54,
) -> Any:
    """Look at any jet, what a network makes of it, and the difference of the two.

        qg.explore_reconstructions({"VAE": vae, "U-Net": unet}, test)

    The slider goes through a random sample, also the worst or the best first; a number box shows
    any jet. Only what is shown is made dense, so there may be as many jets as in the public file.

    Args:
        models: networks by their names, or one.
        jets: to reconstruct.
        sample: at most this many jets, drawn with a fixed seed, are put in order by their errors:
            the sum of the absolute differences of all pixels, as a share of the jet's energy.
            It is 1 for a blank image.
        half_width: shown on each side of the centre, in eta and in radians.

    Returns:
        What a notebook shows; a line if there are no jets, or a network does not fit them.
    """
    try:
        models = dict(models) if isinstance(models, Mapping) else {type(models).__name__: models}
        if not len(jets):
            raise ValueError(EMPTY)
        if not models or sample < 1:
            raise ValueError("nothing to show: give a network, and a sample of 1 or more")
        for model in models.values():
            check_contract(model, jets.images(slice(2)))
        return ReconstructionExplorer(models, jets, sample, half_side(half_width))
    except (TypeError, ValueError, RuntimeError) as error:
        return Browser.message(str(error).splitlines()[0])


def wrong_share(original: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Sum of the absolute differences as a share of the energy, `(n,)`, of `(n, 3, 125, 125)`."""
    energy = original.sum(axis=(1, 2, 3), dtype=float)
    wrong = abs(images - original).sum(axis=(1, 2, 3), dtype=float)
    return wrong / np.maximum(energy, 1e-9)


class ReconstructionExplorer(Explorer):
    """The widgets of `explore_reconstructions`.

    Attributes:
        sample: numbers of the jets in the sample, in the order of the slider.
        original, reconstruction: in GeV, with shape `(3, 125, 125)`.
    """

    def __init__(
        self, models: dict[str, JetAutoencoder], jets: JetImages, sample: int, half: int
    ) -> None:
        self._models, self._jets = models, jets
        self._errors: dict[str, np.ndarray] = {}  # of the sample, as it was drawn, by network
        self._drawn = self.sample = random_rows(len(jets), sample, seed=0)
        self.which = ipywidgets.Dropdown(options=list(models), description="network")
        self.order = ipywidgets.Dropdown(options=list(ORDERS), description="order")
        self.jet = ipywidgets.BoundedIntText(
            int(self.sample[0]), max=len(jets) - 1, description="jet", layout={"width": "190px"}
        )
        self.place = ipywidgets.IntSlider(
            max=len(self.sample) - 1, description="browse", layout={"width": "98%"}
        )
        self.which.observe(lambda _: self._sort(), names="value")
        self.order.observe(lambda _: self._sort(), names="value")
        self.place.observe(lambda _: self._go(), names="value")
        self.jet.observe(lambda _: self._draw(), names="value")
        images = layout.GEV_PER_UNIT * jets.images(self.sample[:SAMPLE]).numpy()
        controls = [ipywidgets.HBox([self.which, self.order, self.jet]), self.place]
        text = f"explorer of the reconstructions of {', '.join(models)}"
        super().__init__(text, controls, Panels(images, half))
        self._draw()

    def errors(self) -> np.ndarray:
        """The errors of the sample, as it was drawn, by the network that is chosen."""
        name = self.which.value
        if name not in self._errors:
            self.panels.value = f"<p>computing the errors of {len(self._drawn)} jets ...</p>"
            self._errors[name] = self._jets[self._drawn].map(
                lambda images: wrong_share(
                    images.numpy(), metrics.reconstruct(self._models[name], images).numpy()
                )
            )
        return self._errors[name]

    def _sort(self) -> None:
        """Put the sample in order, and show its first jet; as given, the jet stays."""
        sign = ORDERS[self.order.value]
        if not sign:
            self.sample = self._drawn
            return self._draw()
        self.sample = self._drawn[np.argsort(sign * self.errors(), kind="stable")]
        if self.place.value:
            self.place.value = 0
        return self._go()

    def _go(self) -> None:
        before, self.jet.value = self.jet.value, int(self.sample[self.place.value])
        if before == self.jet.value:  # another network
            self._draw()

    def _draw(self) -> None:
        number = self.jet.value
        images = self._jets.images([number])
        made = metrics.reconstruct(self._models[self.which.value], images)
        both = layout.GEV_PER_UNIT * torch.cat([images, made]).numpy()
        self.original, self.reconstruction = both
        (share,) = wrong_share(both[:1], both[1:])
        told = f"{html.escape(named(self._jets, number))} · wrong {share:.3f} of its energy"
        told += f" · {self._placed(number)}<br>orange is too much, violet too little"
        self.panels.show(
            told,
            Row("original", self.original),
            Row("reconstruction", self.reconstruction),
            Row("difference", self.reconstruction - self.original, signed=True),
        )

    def _placed(self, number: int) -> str:
        """Where the jet stands in the sample."""
        size, everything = len(self.sample), len(self._jets)
        whole = f"all {size}" if size == everything else f"a sample of {size} of {everything:,}"
        if number not in self.sample:
            return f"not among {whole} jets"
        rank = int(np.flatnonzero(self.sample == number)[0]) + 1
        order = "" if self.order.value == "as given" else f", {self.order.value}"
        return f"{rank} of {whole} jets{order}"

    def static(self) -> tuple[bytes, str]:
        picture, words = super().static()
        return picture, f"{words}, of {named(self._jets, self.jet.value)} by {self.which.value}"
