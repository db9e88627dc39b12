"""What is in a file, and on what evidence: layout, channels, labels."""

from pathlib import Path

import numpy as np

from qghelpers import layout

LOOK_AT = 1000  # jets, drawn at random from the file


def inspect(path: str | Path) -> str:
    """A report on a file of jet images, as text.

    Raises:
        layout.DataError: the file cannot be used at all.
    """
    with layout.open_file(path) as file:
        images, labels, pt = file["X_jets"], file["y"][:], file["pt"][:]
        lines = [f"{path}: {len(images)} jets"]
        for key in ("X_jets", "y", "pt", "m0"):
            data = file[key]
            lines.append(
                f"  {key:<7}{data.dtype!s:<9}{data.shape!s:<24}"
                f"chunks {data.chunks}, filter {data.compression}"
            )
        rows = np.random.default_rng(0).permutation(len(images))[:LOOK_AT]
        rows.sort()
        sample, sample_labels = images[rows], labels[rows]
    lines.append(f"  pt     {pt.min():.1f} to {pt.max():.1f} GeV")
    lines += _channels(sample) + _labels(sample, sample_labels) + _pixels(sample)
    return "\n".join(lines)


def _channels(images: np.ndarray) -> list[str]:
    constant, lit = layout.constant_tower_share(images), layout.lit_share(images)
    hcal = int(constant.argmax())
    tracks = min((i for i in range(3) if i != hcal), key=lambda i: lit[i])
    found = {hcal: "HCAL", tracks: "Tracks"}
    names = [found.get(i, "ECAL") for i in range(3)]
    lines = [
        f"channels, from {len(images)} jets (HCAL alone has constant 5x5 blocks; Tracks is "
        "the sparser of the others)"
    ]
    for i, name in enumerate(names):
        lines.append(f"  {i}: {name:<7}{constant[i]:7.1%} constant blocks, {lit[i]:6.2%} lit")
    if tuple(names) == layout.CHANNELS and constant[hcal] > 0.99:
        return [*lines, "  this is the expected order"]
    return [*lines, f"  WARNING: expected {', '.join(layout.CHANNELS)}; found {', '.join(names)}"]


def _labels(images: np.ndarray, labels: np.ndarray) -> list[str]:
    lines = ["labels (gluon jets light more pixels)"]
    shares = {}
    for label, name in ((layout.GLUON, "gluon"), (layout.QUARK, "quark")):
        chosen = images[labels == label]
        if len(chosen) == 0:
            return [*lines, f"  WARNING: no jet has y = {label} ({name})"]
        shares[name] = (chosen != 0).mean()
        lines.append(f"  y = {label} {name}: {len(chosen)} jets, {shares[name]:.2%} of pixels lit")
    if shares["gluon"] > shares["quark"]:
        return [*lines, "  this agrees with y = 0 gluon, y = 1 quark"]
    return [*lines, "  WARNING: y = 1 lights more pixels, so the labels look swapped"]


def _pixels(images: np.ndarray) -> list[str]:
    bad = int((~np.isfinite(images)).sum())
    negative = int((images < 0).sum())
    lines = [f"pixels: largest {np.nanmax(images):.3g}, negative {negative}, not finite {bad}"]
    return lines if bad == 0 else [*lines, "  WARNING: pixels that are not numbers spoil training"]
