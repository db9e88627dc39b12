"""Figures of jets: particles, images, what a network sees of them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT
from qghelpers.pictures import JET_SCALES, common_scale
from qghelpers.plots.frames import HALF, draw_energies, grid_of_axes

__all__ = [
    "bent_tracks",
    "feature_maps",
    "gallery",
    "images",
    "particles",
    "reconstruction",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>


def particles(
    kinds: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    jet_eta: float,
    jet_phi: float,
    radius: float,
) -> Figure:
    """Particles around a jet axis, discs whose area grows with transverse momentum.

    Args:
        kinds: name of each kind of particle and its `eta`, `phi` and `pt` in GeV.
        jet_eta, jet_phi: the jet's axis.
        radius: of the circle that is drawn around it.
    """
    figure, axes = grid_of_axes(1, 1, 6.4, 5, "compressed")
    ax = axes[0, 0]
    for name, (eta, phi, pt) in kinds.items():
        d_phi = (phi - jet_phi + np.pi) % (2 * np.pi) - np.pi
        ax.scatter(eta - jet_eta, d_phi, s=12 * pt, alpha=0.5, linewidths=0, label=name)
    ax.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", label=f"jet, R = {radius:g}"))
    ax.set(xlabel="Δη", ylabel="Δφ [rad]", xlim=(-HALF, HALF), ylim=(-HALF, HALF), aspect="equal")
    ax.locator_params(nbins=5)
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1, 1), title="area ∝ pT")
    for handle in legend.legend_handles[: len(kinds)]:
        handle.set_sizes([40])
    return figure


def bent_tracks(paths: np.ndarray, charges: np.ndarray, radius: float) -> Figure:
    """Charged particles seen along the beam, from the collision to the calorimeters.

    Args:
        paths: x and y in metres at some steps, with shape `(2, steps, particles)`.
        charges: with shape `(particles,)`.
        radius: of the calorimeter's inner face in metres.
    """
    figure, axes = grid_of_axes(1, 1, 5.4, 5, "compressed")
    ax = axes[0, 0]
    for name, sign, colour in (("positive", 1, "tab:red"), ("negative", -1, "tab:blue")):
        x, y = paths[:, :, np.sign(charges) == sign]
        ax.plot(x, y, color=colour, linewidth=1, alpha=0.7)
        ax.plot([], [], color=colour, label=f"{name} charge")
    ax.add_patch(Circle((0, 0), radius, fill=False, linewidth=3, color="grey", label="ECAL"))
    ax.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def images(rows: dict[str, np.ndarray], half_width: float = HALF, fixed: bool = False) -> Figure:
    """Jet images, a row each and a column for each channel, on one log colour scale a column.

    Args:
        rows: title of each row and its image in GeV/100, with shape `(3, H, W)`.
        half_width: show this much on each side of the centre, in eta and in radians.
        fixed: use `JET_SCALES`, else what `common_scale` finds; fainter pixels stay white.
    """
    height = 3.5 + 0.5 / len(rows)  # of a picture, and its share of the bar below
    figure, axes = grid_of_axes(len(rows), len(CHANNELS), 4, height, "compressed")
    for column, channel in enumerate(CHANNELS):
        stack = GEV_PER_UNIT * np.stack([np.asarray(image[column]) for image in rows.values()])
        scale = JET_SCALES[column] if fixed else common_scale(stack)
        norm = LogNorm(scale.floor, scale.top)
        for ax, title, pixels in zip(axes[:, column], rows, stack, strict=True):
            mesh = draw_energies(ax, pixels, norm, half_width)
            ax.set(title=f"{title}: {channel}", xlabel="Δη", ylabel="Δφ [rad]")
        label = f"GeV per pixel; white: below {scale.floor:.1g}"
        figure.colorbar(mesh, ax=axes[:, column], label=label, location="bottom", pad=0.01)
    return figure


def reconstruction(original: np.ndarray, reconstructed: np.ndarray) -> Figure:
    """A jet, what a network made of it, and the size of the difference, in three rows.

    Args:
        original, reconstructed: in GeV/100, with shape `(3, H, W)`.
    """
    difference = np.abs(np.asarray(reconstructed) - np.asarray(original))
    rows = {"original": original, "reconstruction": reconstructed, "|difference|": difference}
    return images(rows, half_width=0.6)


def feature_maps(levels: dict[str, np.ndarray], shown: int = 4) -> Figure:
    """What some layers of a network make of one jet: a row each, with a colour scale each.

    The scale rises fast from zero, so that faint activations show beside the brightest.

    Args:
        levels: title of each layer and its maps, with shape `(k, H, W)`; those that vary most
            are shown.
        shown: how many.
    """
    figure, axes = grid_of_axes(len(levels), shown, 2.6, 2.4)
    for row, (title, maps) in zip(axes, levels.items(), strict=True):
        maps = np.asarray(maps)
        liveliest = np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:shown]
        scale = PowerNorm(0.4, vmin=0, vmax=float(maps[liveliest].max()) or 1)
        for ax, index in zip(row, liveliest, strict=False):
            mesh = ax.imshow(maps[index].T, origin="lower", norm=scale, cmap="magma")
            ax.set(title=f"{title}: map {index}", xticks=[], yticks=[])
        figure.colorbar(mesh, ax=row, label="activation", shrink=0.9)
    return figure


def gallery(columns: Mapping[str, np.ndarray], half_width: float = 0.6) -> Figure:
    """Jet images, a column each and a row for each channel, on one log colour scale per channel.

    Args:
        columns: title of each column and its image in GeV/100, with shape `(3, H, W)`.
        half_width: show this much on each side of the centre, in eta and in radians.
    """
    figure, axes = grid_of_axes(len(CHANNELS), len(columns), 1.7, 1.75, "compressed")
    for row, (cells, channel) in enumerate(zip(axes, CHANNELS, strict=True)):
        stack = [GEV_PER_UNIT * np.asarray(image[row]) for image in columns.values()]
        scale = common_scale(np.stack(stack))
        norm = LogNorm(scale.floor, scale.top)
        for ax, title, pixels in zip(cells, columns, stack, strict=True):
            mesh = draw_energies(ax, pixels, norm, half_width, interpolation=None)
            ax.set(xticks=[], yticks=[])
            ax.set_title("" if row else title, fontsize="small")
        cells[0].set_ylabel(channel)
        label = f"GeV per pixel;\nwhite: below {scale.floor:.1g}"
        figure.colorbar(mesh, ax=cells).set_label(label, fontsize="small")
    return figure
