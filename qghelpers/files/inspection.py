"""Report on a file: its layout, channels, labels and pixels, and the order of its jets."""

from pathlib import Path

import h5py
import numpy as np
from scipy.stats import ks_2samp

from qghelpers.data import cache, hdf5, layout
from qghelpers.data.sparse import SparseImages

__all__ = ["inspect"]

JETS_TO_CHECK = 1000  # random jets from which the channels are identified
OUTLIER = 10  # pixels above this multiple of the largest jet pT are counted as outliers
AT_ONCE = 4096  # jets whose pixels are counted together
P_VALUE_WARNING = 1e-6  # p-value below which we warn
NAMES = {layout.GLUON: "gluon", layout.QUARK: "quark"}


def inspect(path: str | Path) -> str:
    """A report on a file of jet images, as text, with a line that says WARNING for each problem.

    All pixels are read, from the file's cache, which is made if there is none.

    Raises:
        qghelpers.DataError: the file cannot be used at all.
    """
    path = Path(path).expanduser()
    with hdf5.open_file(path) as file:
        labels, pt, mass, process, _ = hdf5.columns(file)
        images = cache.open_images(file["X_jets"])
        lines = _datasets(file, path, images)
    known = bool(np.isfinite(pt).all())
    lit, total, largest, strange = _statistics(images, pt.max() if known else layout.PUBLIC_PT[1])
    columns = {"pt": pt, "m0": mass, "y": labels, "lit pixels": lit.sum(axis=1)}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).all()}
    momenta = f"{pt.min():.1f} to {pt.max():.1f} GeV" if known else "not stored"
    return "\n".join(
        [
            *lines,
            f"  pt     {momenta} (public file: {layout.PUBLIC_PT[0]} to {layout.PUBLIC_PT[1]})",
            *_channels(images),
            *_processes(process),
            *_labels(labels, lit, total, largest),
            *_pixels(strange),
            *_order(columns),
        ]
    )


def _datasets(file: h5py.File, path: Path, images: SparseImages) -> list[str]:
    dense = file["X_jets"].size * 4
    lines = [
        f"{path}: {len(images)} jets, {_size(path.stat().st_size)} on disk, {_size(dense)} as "
        f"float32 images, {_size(images.nbytes)} without the zeros"
    ]
    for key, data in file.items():
        if isinstance(data, h5py.Dataset):
            filters = [data.compression, "shuffle" if data.shuffle else None]
            lines.append(
                f"  {key:<7}{data.dtype!s:<9}{data.shape!s:<24}chunks {data.chunks}, "
                f"filter {' and '.join(filter(None, filters)) or None}"
            )
    return lines


def _size(bytes_: float) -> str:
    return f"{bytes_ / 1e9:.2f} GB" if bytes_ > 1e8 else f"{bytes_ / 1e6:.2f} MB"


def _statistics(images: SparseImages, highest_pt: float):
    """Number of lit pixels, sum and largest pixel by jet and channel; counts of strange pixels."""
    shape = (len(images), len(layout.CHANNELS))
    lit, total, largest = np.zeros(shape, int), np.zeros(shape), np.zeros(shape)
    strange = dict.fromkeys(("negative", "not finite", "outliers"), 0)
    for start in range(0, len(images), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(images)))
        row, channel, values, sizes = images.pixels(rows)
        where = (row + start, channel)
        np.add.at(lit, where, sizes)
        np.add.at(total, where, sizes * values)
        np.maximum.at(largest, where, values)
        strange["negative"] += int(sizes[values < 0].sum())
        strange["not finite"] += int(sizes[~np.isfinite(values)].sum())
        strange["outliers"] += int(sizes[values * layout.GEV_PER_UNIT > OUTLIER * highest_pt].sum())
    return lit, total, largest, strange


def _channels(images: SparseImages) -> list[str]:
    rows = np.random.default_rng(0).permutation(len(images))[:JETS_TO_CHECK]
    some = images.dense(rows).permute(0, 2, 3, 1).numpy()
    names = layout.channels_by_evidence(some)
    lines = [
        f"channels, from {len(rows)} jets (HCAL alone has constant 5x5 blocks; Tracks is the "
        "sparser of the others)"
    ]
    shares = zip(names, layout.constant_tower_share(some), layout.lit_share(some), strict=True)
    for i, (name, constant, lit) in enumerate(shares):
        lines.append(f"  {i}: {name:<7}{constant:7.1%} constant blocks, {lit:6.2%} lit")
    if len(some) > 1 and (problem := layout.units_problem(some)):
        lines.append(f"  WARNING: no energies in GeV/100: {problem[0]}: {problem[1]}")
    if names == layout.CHANNELS:
        return [*lines, "  this is the expected order"]
    return [*lines, f"  WARNING: expected {', '.join(layout.CHANNELS)}; found {', '.join(names)}"]


def _processes(process: np.ndarray) -> list[str]:
    names, counts = np.unique(process, return_counts=True)
    if list(names) == ["qcd"]:
        return []
    kinds = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
    return [f"processes: {kinds}; only qcd jets are quark or gluon jets, the others have y = -1"]


def _labels(labels, lit, total, largest) -> list[str]:
    """Lit share, mean and largest pixel by label and channel, beside those of the public file."""
    if (labels == layout.NEITHER).all():
        return ["labels: neither quark nor gluon"]
    lines = [
        "labels, and their channels beside the public file's (gluon jets light more pixels)",
        f"  {'':<14}{'jets':>7}{'lit':>9}{'public':>9}{'mean':>10}{'public':>10}"
        f"{'largest':>10}{'public':>10}",
    ]
    area, shares = layout.IMAGE_SIZE**2, []
    for label, name in NAMES.items():
        chosen = labels == label
        if not chosen.any():
            lines.append(f"  WARNING: no jet has y = {label} ({name})")
            continue
        shares.append(lit[chosen].mean(axis=0) / area)
        for i, channel in enumerate(layout.CHANNELS):
            mean, most = total[chosen, i].mean() / area, largest[chosen, i].max()
            lines.append(
                f"  {name + ' ' + channel:<14}{chosen.sum():>7}"
                f"{shares[-1][i]:>9.2%}{layout.PUBLIC_LIT_SHARE[label][i]:>9.2%}"
                f"{mean:>10.2e}{layout.PUBLIC_MEAN[label][i]:>10.1e}"
                f"{most:>10.3g}{layout.PUBLIC_LARGEST[label][i]:>10.4g}"
            )
    if len(shares) < 2:
        return lines
    if shares[0].sum() > shares[1].sum():
        return [*lines, "  this agrees with y = 0 gluon, y = 1 quark"]
    return [*lines, "  WARNING: y = 1 lights more pixels, so the labels look swapped"]


def _pixels(strange: dict[str, int]) -> list[str]:
    lines = ["pixels: " + ", ".join(f"{count} {name}" for name, count in strange.items())]
    if strange["not finite"]:
        lines.append("  WARNING: pixels that are no numbers; load_jets refuses this file")
    if strange["negative"]:
        lines.append("  WARNING: energy is never negative; the public file has no such pixel")
    if strange["outliers"]:
        lines.append(
            f"  WARNING: pixels of over {OUTLIER} times the largest jet pT; scale by logarithm "
            "or deviation, never by the largest pixel"
        )
    return lines


def _order(columns: dict[str, np.ndarray]) -> list[str]:
    """Whether the first tenth of the jets is a random sample, by Kolmogorov-Smirnov tests."""
    first = len(columns["y"]) // 10
    if first < 20:
        return ["order: too few jets to say whether the first ones differ from the rest"]
    p_values = {name: ks_2samp(x[:first], x[first:]).pvalue for name, x in columns.items()}
    name = min(p_values, key=p_values.get)
    verdict = f"(of {', '.join(columns)}, {name} differs most: p = {p_values[name]:.2g})"
    if p_values[name] < P_VALUE_WARNING:
        return [f"order: WARNING: the first {first} jets differ from the rest {verdict}"]
    return [f"order: the first {first} jets are like the rest {verdict}"]
