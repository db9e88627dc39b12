"""Simulated jets beside what is published of the public file, and jets of the other processes.

The detector's fitted parameters were fitted on jets of another seed. Uncertainties are those of
the simulated sample, by bootstrap; the public figures are rounded to two or three digits, those of
the mean images were read from a published picture and are good to about 10 %.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import qghelpers as qg
from qghelpers.data import layout
from qghelpers.seeds import Seed
from qghelpers.simulation.processes import PROCESSES
from qghelpers.simulation.simulate import simulate

JETS = 8000
OTHERS = 2000  # jets of each other process, and of gluon jets to compare them with
GROUPS, RESAMPLES = 40, 50  # of jets, which are drawn again and again
KINDS = {"gluon": layout.GLUON, "quark": layout.QUARK}
MIDDLE = layout.IMAGE_SIZE // 2
WHOLE = {"w": (65, 95), "top": (140, 200)}  # GeV, masses of jets that hold all quarks of these
QUANTILE = 0.999
PUBLIC_QUANTILE = (0.60, 0.200, 0.032)  # of the lit pixels of both labels, GeV/100
# Mean gluon image, HCAL: towers so many steps from the centre in eta and in phi, relative to it
PUBLIC_TOWERS = {
    "next in phi": ((0, 1), 0.17),
    "next in eta": ((1, 0), 0.11),
    "diagonal": ((1, 1), 0.056),
    "second in phi": ((0, 2), 0.06),
    "second in eta": ((2, 0), 0.011),
}
PUBLIC_CENTRE = 1.43  # HCAL, central tower of the mean image, quark to gluon
# Mean gluon image, rings around the centre, relative to the innermost of the mean quark image
RINGS = (0, 1.5, 3, 5, 8, 12, 18, 25)  # pixels
PUBLIC_RINGS = {
    "Tracks": (0.55, 0.48, 0.33, 0.151, 0.062, 0.026, 0.008),
    "ECAL": (0.52, 0.43, 0.29, 0.156, 0.075, 0.032, 0.010),
}
CERTAIN_RINGS = 5  # further out the picture is too pale to say more than the order of magnitude
ALLOWED = {"lit share": 0.15, "mean pixel": 0.20, "gluon to quark": 0.10}
ALLOWED |= {"quantile": 0.20, "tower": 0.30, "ring": 0.25}


class Sample:
    """What a group of jets says of each label, kept so that groups can be drawn again."""

    def __init__(self, jets: qg.JetImages) -> None:
        pixels = layout.IMAGE_SIZE**2
        self.lit, self.sums, self.image, self.values = {}, {}, {}, []
        images = np.concatenate([images.numpy() for images in jets.batches(256)])
        for name, label in KINDS.items():
            own = images[jets.labels == label]
            self.lit[name] = (own > 0).mean(axis=(0, 2, 3))
            self.sums[name] = own.sum(axis=(0, 2, 3), dtype=float) / len(own) / pixels
            self.image[name] = own.mean(axis=0, dtype=float)
        self.values = [images[:, i][images[:, i] > 0] for i in range(len(jets.channels))]


def figures(groups: list[Sample]) -> Iterator[tuple[str, float, float, float | None]]:
    """Name, value here, public value, and by how much it may be off (None: not judged)."""

    def mean(what: str, name: str) -> np.ndarray:
        return np.mean([getattr(group, what)[name] for group in groups], axis=0)

    shares = {"lit share": ("lit", layout.PUBLIC_LIT_SHARE)}
    shares |= {"mean pixel": ("sums", layout.PUBLIC_MEAN)}
    for quantity, (what, public) in shares.items():
        own = {name: mean(what, name) for name in KINDS}
        for i, channel in enumerate(layout.CHANNELS):
            for name, label in KINDS.items():
                title = f"{quantity}, {channel}, {name}"
                yield title, own[name][i], public[label][i], ALLOWED[quantity]
            ratio = public[layout.GLUON][i] / public[layout.QUARK][i]
            allowed = ALLOWED["gluon to quark"] if quantity == "lit share" else None
            title = f"{quantity}, {channel}, gluon to quark"
            yield title, own["gluon"][i] / own["quark"][i], ratio, allowed
    for i, channel in enumerate(layout.CHANNELS):
        values = np.concatenate([group.values[i] for group in groups])
        title = f"{QUANTILE:.1%} of lit pixels below, {channel}"
        yield title, np.quantile(values, QUANTILE), PUBLIC_QUANTILE[i], ALLOWED["quantile"]
    image = {name: mean("image", name) for name in KINDS}
    towers = {
        name: image[name][2, 2 :: layout.TOWER_SIZE, 2 :: layout.TOWER_SIZE] for name in KINDS
    }
    for where, (step, public) in PUBLIC_TOWERS.items():
        value = around(towers["gluon"], step) / around(towers["gluon"], (0, 0))
        yield f"HCAL tower {where}", value, public, ALLOWED["tower"]
    centres = [around(towers[name], (0, 0)) for name in ("quark", "gluon")]
    yield "HCAL centre, quark to gluon", centres[0] / centres[1], PUBLIC_CENTRE, ALLOWED["tower"]
    rows, columns = np.indices((layout.IMAGE_SIZE,) * 2) - MIDDLE
    ring = np.digitize(np.hypot(rows, columns), RINGS) - 1
    for channel, public in PUBLIC_RINGS.items():
        i = layout.CHANNELS.index(channel)
        innermost = image["quark"][i][ring == 0].mean()
        for k, expected in enumerate(public):
            value = image["gluon"][i][ring == k].mean() / innermost
            title = f"{channel}, {RINGS[k]:g} to {RINGS[k + 1]:g} pixels"
            yield title, value, expected, ALLOWED["ring"] if k < CERTAIN_RINGS else None


def around(towers: np.ndarray, step: tuple[int, int]) -> float:
    """Mean of the towers so many steps from the centre, on all sides."""
    middle = len(towers) // 2
    rows, columns = {middle - step[0], middle + step[0]}, {middle - step[1], middle + step[1]}
    return float(np.mean([towers[row, column] for row in rows for column in columns]))


def against_the_public_file(jets: qg.JetImages) -> None:
    order = np.random.default_rng(0).permutation(len(jets))
    groups = [Sample(jets[np.sort(some)]) for some in np.array_split(order, GROUPS)]
    rng = np.random.default_rng(0)
    again = [
        [
            value
            for _, value, _, _ in figures([groups[i] for i in rng.integers(GROUPS, size=GROUPS)])
        ]
        for _ in range(RESAMPLES)
    ]
    errors, judged, good = np.std(again, axis=0), 0, 0
    print(f"{'':<40}{'simulated':>11}    {'':<9}{'public':>10}{'off by':>9}")
    for (name, value, public, allowed), error in zip(figures(groups), errors, strict=True):
        off = value / public - 1
        verdict = "" if allowed is None else ("  ok" if abs(off) <= allowed else "  TOO FAR")
        judged, good = judged + bool(verdict), good + (verdict == "  ok")
        print(f"{name:<40}{value:>11.3g} +- {error:<9.2g}{public:>10.3g}{off:>+9.1%}{verdict}")
    print(f"{good} of {judged} within their bounds")
    low, high = layout.PUBLIC_PT
    print(f"pT {jets.pt.min():.1f} to {jets.pt.max():.1f} GeV (public: {low} to {high})")


def spread_of(values: np.ndarray, statistic: Callable[[np.ndarray], float], n: int = 400) -> float:
    """The uncertainty of a statistic of jets, by bootstrap."""
    rng = np.random.default_rng(0)
    return float(np.std([statistic(rng.choice(values, len(values))) for _ in range(n)]))


def widths(jets: qg.JetImages) -> np.ndarray:
    """Mean distance of the track momentum from the centre of each image, in units of eta."""
    rows, columns = np.indices((layout.IMAGE_SIZE,) * 2) - MIDDLE
    distance = layout.PIXEL_WIDTH * np.hypot(rows, columns)
    tracks = np.concatenate([images[:, 0].numpy() for images in jets.batches(256)])
    return (tracks * distance).sum(axis=(1, 2)) / np.maximum(tracks.sum(axis=(1, 2)), 1e-9)


def beside_gluon_jets(folder: Path) -> None:
    """What the other processes' jets are like, without pile-up."""
    print(
        f"\n{'':<8}{'jets':>6}{'pT, 5 to 95 %':>18}{'mass peak':>16}{'width of tracks':>22}  whole"
    )
    for process in PROCESSES:
        path = folder / f"{process}.hdf5"
        n = OTHERS * (1 + (process == layout.QCD))
        simulate(path, n, Seed.FIDELITY, pileup=0, process=process)
        jets = qg.load_jets(path)
        jets = jets[jets.labels != layout.QUARK]
        name = "gluon" if process == layout.QCD else process
        low, high = np.quantile(jets.pt, [0.05, 0.95])
        counts, edges = np.histogram(jets.mass, np.arange(0, 300, 5))
        peak = edges[counts.argmax()]
        width = widths(jets)
        print(
            f"{name:<8}{len(jets):>6}"
            f"{low:>7.0f} to {high:.0f} GeV{peak:>7.0f} to {peak + 5:.0f} GeV"
            f"{width.mean():>13.3f} +- {spread_of(width, np.mean):.3f}"
            f"{whole(jets, WHOLE[process]) if process in WHOLE else ''}"
        )


def whole(jets: qg.JetImages, window: tuple[float, float]) -> str:
    share = np.mean((jets.mass > window[0]) & (jets.mass < window[1]))
    error = np.sqrt(share * (1 - share) / len(jets))
    return f"  {share:.1%} +- {error:.1%} from {window[0]} to {window[1]} GeV"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.hdf5"
        simulate(path, JETS, Seed.FIDELITY)
        against_the_public_file(qg.load_jets(path))
        beside_gluon_jets(Path(folder))


if __name__ == "__main__":
    main()
