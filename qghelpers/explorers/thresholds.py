"""Cut on an anomaly score: what is kept, what is found, and what that does to the masses."""

import html
from io import BytesIO
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from qghelpers.data import layout
from qghelpers.data.jets import JetImages
from qghelpers.explorers.panels import SAMPLE, Explorer, Panels, Row, named
from qghelpers.widgets.browser import EMPTY, Browser, half_side

POSITIONS = 101  # of the slider, at most: shares of false alarms from all to one jet
BINS = 40
SHARE = 0.98  # of the masses that lie within the axis; the others are in its last bin
# CSS pixels of the spectrum, around and between its axes
WIDTH, HEIGHT, LEFT, TOP, FOOT = 640, 188, 60, 24, 34
MASS = "mass of the jets, as stored with them [GeV]; the last bin holds all above"
LINES = {  # of the spectrum: colour, dashes, of which sample, whether of the jets that are kept
    "ordinary": ("#7a7a7a", "5 4", 0, False),
    "ordinary, kept": ("#1f5fa8", "", 0, True),
    "anomalies": ("#d98200", "5 4", 1, False),
    "anomalies, kept": ("#b33c00", "", 1, True),
}


def explore_threshold(
    ordinary: JetImages,
    scores: np.ndarray,
    anomalies: JetImages,
    their_scores: np.ndarray,
    rate: float = 1000.0,
    half_width: float = 0.54,
) -> Any:
    """Move a threshold on an anomaly score, and see what is kept.

        qg.explore_threshold(test, score(test), w_bosons, score(w_bosons))

    It tells the share of false alarms and the share of the anomalies that is found, also in jets
    per second; draws the spectrum of the masses (of simulated jets the true ones), all and kept,
    which shows whether the score prefers some of them; and shows the last jet that is kept and the
    first that is not.

    Args:
        ordinary, anomalies: jets.
        scores, their_scores: one for each of these, larger for what is more unusual: `(n,)`.
        rate: jets per second that come in; it can be changed in the widget.
        half_width: shown on each side of the centre, in eta and in radians.

    Returns:
        What a notebook shows; a line if there are no jets, or not one score for each.
    """
    try:
        samples = {"ordinary": (ordinary, scores), "anomaly": (anomalies, their_scores)}
        parts = [Scored(name, *sample) for name, sample in samples.items()]
        return ThresholdExplorer(*parts, rate, half_side(half_width))
    except (TypeError, ValueError) as error:
        return Browser.message(str(error))


class Scored:
    """Jets by their scores, the highest first.

    Attributes:
        order: their numbers, with shape `(n,)`.
        scores: with shape `(n,)`.
        masses: in GeV, with shape `(n,)`.
    """

    def __init__(self, name: str, jets: JetImages, scores: np.ndarray) -> None:
        scores = np.asarray(scores, float)
        if not len(jets):
            raise ValueError(EMPTY)
        if scores.shape != (len(jets),) or not np.isfinite(scores).all():
            raise ValueError(f"{name}: give one score, a number, for each of the {len(jets)} jets")
        if not np.isfinite(jets.mass).all():
            raise ValueError(f"{name}: the masses of some jets are not known")
        self.name, self.jets = name, jets
        self.order = np.argsort(-scores, kind="stable")
        self.scores, self.masses = scores[self.order], jets.mass[self.order]

    def __len__(self) -> int:
        return len(self.order)

    def kept(self, threshold: float) -> int:
        """How many have this score or a higher one."""
        return int(np.searchsorted(-self.scores, -threshold, side="right"))

    def described(self, place: int) -> str:
        """The jet at a place in this order, in words."""
        return f"{self.name} {named(self.jets, int(self.order[place]))}"


class ThresholdExplorer(Explorer):
    """The widgets of `explore_threshold`.

    Attributes:
        edges: of the bins of mass, in GeV.
        shares: of each sample in each bin, by the lines of the spectrum; each `(BINS,)`.
    """

    def __init__(self, ordinary: Scored, anomalies: Scored, rate: float, half: int) -> None:
        self._samples = ordinary, anomalies
        masses = np.concatenate([ordinary.masses, anomalies.masses])
        self.edges = np.linspace(0, max(float(np.quantile(masses, SHARE)), 1.0), BINS + 1)
        self._bins = [
            np.minimum(np.searchsorted(self.edges[1:], s.masses, side="right"), BINS - 1)
            for s in self._samples
        ]
        places = np.rint(np.geomspace(1, len(ordinary), POSITIONS)).astype(int) - 1
        thresholds = np.unique(ordinary.scores[places]).tolist()
        start = np.searchsorted(thresholds, ordinary.scores[len(ordinary) // 100])
        self.threshold = ipywidgets.SelectionSlider(
            options=[(f"{value:.4g}", value) for value in thresholds],
            index=int(start),
            description="threshold",
            layout={"width": "98%"},
        )
        self.rate = ipywidgets.BoundedFloatText(
            rate,
            min=0,
            max=1e12,
            description="jets per second",
            style={"description_width": "initial"},
        )
        self.threshold.observe(lambda _: self._draw(), names="value")
        self.rate.observe(lambda _: self._draw(), names="value")
        images = layout.GEV_PER_UNIT * ordinary.jets.images(slice(SAMPLE)).numpy()
        panels = Panels(images, half)
        super().__init__("explorer of a threshold", [self.threshold, self.rate], panels)
        self._draw()

    def _draw(self) -> None:
        kept = [sample.kept(self.threshold.value) for sample in self._samples]
        self.shares = {
            line: self._spectrum(which, kept[which] if cut else None)
            for line, (_, _, which, cut) in LINES.items()
        }
        self.told = self._told(kept)
        rows = [self._row(title, *at) for title, at in self._sides(kept).items()]
        low = int(np.floor(-np.log10(max(map(len, self._samples)))))  # of one jet, or below it
        picture = spectrum(self.edges, self.shares, min(low, -1))
        self.panels.show(f"{html.escape(self.told)}<br>{picture}", *rows)

    def _spectrum(self, which: int, first: int | None) -> np.ndarray:
        """Share of a sample in each bin of mass, of its first jets only."""
        counts = np.bincount(self._bins[which][:first], minlength=BINS)
        return counts / len(self._samples[which])

    def _told(self, kept: list[int]) -> str:
        """What the threshold costs, and what it finds."""
        parts = []
        for sample, number, what in zip(
            self._samples, kept, ("false alarms", "of the anomalies found"), strict=True
        ):
            share = number / len(sample)
            error = (share * (1 - share) / len(sample)) ** 0.5
            parts.append(
                f"{what}: {100 * share:.3g} ± {100 * error:.1g} %, {share * self.rate.value:.4g} "
                f"of {self.rate.value:.4g} per second"
            )
        return f"threshold {self.threshold.value:.4g} · {' · '.join(parts)}"

    def _sides(self, kept: list[int]) -> dict[str, tuple[Scored, int]]:
        """The jets of both samples on either side of the threshold: a sample, a place in it."""
        pairs = list(zip(self._samples, kept, strict=True))
        above = [(s, k - 1) for s, k in pairs if k]
        below = [(s, k) for s, k in pairs if k < len(s)]
        sides = {"just kept": (above, min), "just not kept": (below, max)}
        return {
            title: choose(found, key=lambda at: at[0].scores[at[1]])
            for title, (found, choose) in sides.items()
            if found
        }

    @staticmethod
    def _row(title: str, sample: Scored, place: int) -> Row:
        image = sample.jets.images([int(sample.order[place])])[0].numpy()
        score = f"score {sample.scores[place]:.4g}"
        return Row(f"{title}: {sample.described(place)} · {score}", layout.GEV_PER_UNIT * image)

    def static(self) -> tuple[bytes, str]:
        """The spectrum; the jets are not in this picture."""
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        ax = figure.add_subplot(xlabel=MASS, ylabel="share per bin", yscale="log")
        for line, (colour, dashes, _, _) in LINES.items():
            style = "--" if dashes else "-"
            ax.stairs(self.shares[line], self.edges, color=colour, linestyle=style, label=line)
        figure.legend(fontsize=8, loc="outside upper center", ncols=len(LINES))
        figure.savefig(buffer := BytesIO(), format="png", dpi=100)
        return buffer.getvalue(), f"Spectra of the mass, all jets and those kept; {self.told}"


def spectrum(edges: np.ndarray, shares: dict[str, np.ndarray], low: int) -> str:
    """The shares in bins of mass as an SVG, on a log axis from `10**low` to 1."""

    def x(mass: np.ndarray) -> np.ndarray:
        return LEFT + (WIDTH - LEFT - 10) * mass / edges[-1]

    def y(share: np.ndarray) -> np.ndarray:
        return TOP + (HEIGHT - TOP - FOOT) * np.log10(np.maximum(share, 10.0**low)) / low

    drawn = ""
    for power in range(low, 1):
        at = y(10.0**power)
        drawn += f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{at}" y2="{at}" stroke="#ddd"/>'
        drawn += f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{10.0**power:g}</text>'
    for mass in np.linspace(0, edges[-1], 6):
        place = f'x="{x(mass):.0f}" y="{HEIGHT - FOOT + 15}" text-anchor="middle"'
        drawn += f"<text {place}>{mass:.0f}</text>"
    across = x(edges).repeat(2)[1:-1]
    for line, (name, (colour, dashes, *_)) in enumerate(LINES.items()):
        points = zip(across, y(shares[name]).repeat(2), strict=True)
        steps = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        style = f'fill="none" stroke="{colour}" stroke-width="1.7" stroke-dasharray="{dashes}"'
        drawn += f'<polyline points="{steps}" {style}/>'
        at = LEFT + 140 * line  # above the axes, where no curve is
        drawn += f'<path d="M{at} 8 h24" {style}/>'
        drawn += f'<text x="{at + 30}" y="12" fill="{colour}">{name}</text>'
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" style="font: 11px sans-serif" '
        f'aria-label="share of the jets in bins of mass, all and kept">{drawn}'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">share of the jets, by {MASS}</text></svg>'
    )
