"""Simulated jets beside what is published of the public file, and jets of the other processes.

The detector's fitted parameters were fitted on jets of another seed. Uncertainties are those of
the simulated sample, by bootstrap; the public figures are rounded to two or three digits.
"""

import tempfile
from pathlib import Path

import numpy as np

import qghelpers as qg
from qghelpers.data import layout
from qghelpers.seeds import Seed
from qghelpers.simulation.processes import PROCESSES
from qghelpers.simulation.simulate import simulate

JETS = 8000
OTHERS = 2000  # jets of each other process, and of gluon jets to compare them with
KINDS = {"gluon": layout.GLUON, "quark": layout.QUARK}
PUBLIC = {"non-zero share": layout.PUBLIC_LIT_SHARE, "mean pixel": layout.PUBLIC_MEAN}
ALLOWED = {"non-zero share": 0.15, "mean pixel": 0.20, "gluon to quark": 0.10}


def bootstrap(values: np.ndarray, resamples: int = 400) -> np.ndarray:
    """Means of resampled jets, with shape `(resamples, channels)`, from `(jets, channels)`."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(values), size=len(values)) for _ in range(resamples))
    return np.stack([values[some].mean(axis=0) for some in drawn])


def line(name: str, value: float, error: float, public: float, allowed: float | None) -> str:
    off = value / public - 1
    verdict = "" if allowed is None else ("  ok" if abs(off) <= allowed else "  TOO FAR")
    return f"{name:<36}{value:>11.3g} +- {error:<9.2g}{public:>10.3g}{off:>+9.1%}{verdict}"


def against_the_public_file(jets: qg.JetImages) -> None:
    quantities = {
        "non-zero share": jets.pixel_counts() / layout.IMAGE_SIZE**2,
        "mean pixel": jets.sums() / layout.IMAGE_SIZE**2,
    }
    print(f"{'':<36}{'simulated':>11}    {'':<9}{'public':>10}{'off by':>9}")
    for quantity, values in quantities.items():
        own = {name: values[jets.labels == label] for name, label in KINDS.items()}
        again = {name: bootstrap(array) for name, array in own.items()}
        public = PUBLIC[quantity]
        for i, channel in enumerate(jets.channels):
            for name, label in KINDS.items():
                print(
                    line(
                        f"{quantity}, {channel}, {name}",
                        own[name][:, i].mean(),
                        again[name][:, i].std(),
                        public[label][i],
                        ALLOWED[quantity],
                    )
                )
            print(
                line(
                    f"{quantity}, {channel}, gluon to quark",
                    own["gluon"][:, i].mean() / own["quark"][:, i].mean(),
                    (again["gluon"][:, i] / again["quark"][:, i]).std(),
                    public[layout.GLUON][i] / public[layout.QUARK][i],
                    ALLOWED["gluon to quark"] if quantity == "non-zero share" else None,
                )
            )
    low, high = layout.PUBLIC_PT
    print(f"pT {jets.pt.min():.1f} to {jets.pt.max():.1f} GeV (public: {low} to {high})")


def widths(jets: qg.JetImages) -> np.ndarray:
    """Mean distance of the track momentum from the centre of each image, in units of eta."""
    rows, columns = np.indices((layout.IMAGE_SIZE,) * 2) - layout.IMAGE_SIZE // 2
    distance = layout.PIXEL_WIDTH * np.hypot(rows, columns)
    tracks = np.concatenate([images[:, 0].numpy() for images in jets.batches(256)])
    return (tracks * distance).sum(axis=(1, 2)) / np.maximum(tracks.sum(axis=(1, 2)), 1e-9)


def beside_gluon_jets(folder: Path) -> None:
    """What the other processes' jets are like, without pile-up."""
    print(f"\n{'':<8}{'jets':>6}{'pT, 5 to 95 %':>18}{'mass peak':>16}{'width of tracks':>22}")
    for process in PROCESSES:
        path = folder / f"{process}.hdf5"
        simulate(path, OTHERS * (1 + (process == "qcd")), Seed.FIDELITY, pileup=0, process=process)
        jets = qg.load_jets(path)
        jets = jets[jets.labels != layout.QUARK]
        name = "gluon" if process == "qcd" else process
        low, high = np.quantile(jets.pt, [0.05, 0.95])
        counts, edges = np.histogram(jets.mass, np.arange(0, 300, 5))
        peak = edges[counts.argmax()]
        width = widths(jets)
        error = bootstrap(width[:, None]).std()
        print(
            f"{name:<8}{len(jets):>6}"
            f"{low:>7.0f} to {high:.0f} GeV{peak:>7.0f} to {peak + 5:.0f} GeV"
            f"{width.mean():>13.3f} +- {error:.3f}"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.hdf5"
        simulate(path, JETS, Seed.FIDELITY)
        against_the_public_file(qg.load_jets(path))
        beside_gluon_jets(Path(folder))


if __name__ == "__main__":
    main()
