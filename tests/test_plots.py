"""Figures show the arrays that they are given, where and in the colour that they should."""

from base64 import b64decode
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from qghelpers import layout, plots, widgets
from qghelpers.plots.curves import _edges
from qghelpers.plots.frames import COLOURS, LABELS
from qghelpers.plots.latent import MOST_POINTS


@pytest.fixture(autouse=True)
def no_figure_left_open():
    yield
    assert plt.get_fignums() == []


def test_scatter_colours_each_point_by_its_own_label():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
    labels = np.array([1, 0, 0, 1])
    ax = plots.scatter_by_label(points, labels, ("a", "b")).axes[0]
    assert {c.get_label() for c in ax.collections} == {"quark", "gluon"}
    for collection in ax.collections:
        label = LABELS[collection.get_label()]
        np.testing.assert_array_equal(collection.get_offsets(), points[labels == label])
        colour = to_rgba(COLOURS[collection.get_label()], 0.5)
        np.testing.assert_allclose(collection.get_facecolors()[0], colour)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")


@pytest.mark.parametrize("side", [125, 69])
def test_a_picture_of_the_centre_alone_is_as_wide_as_its_pixels(side):
    figure = plots.grid({"one": np.ones((1, side, side))}, half_width=0.3)
    (shown,) = figure.axes[0].get_images()
    half = side * layout.PIXEL_WIDTH / 2
    np.testing.assert_allclose(shown.get_extent(), [-half, half, -half, half])


def test_of_many_points_each_that_is_drawn_has_its_own_colour():
    count = 3 * MOST_POINTS
    points = np.random.default_rng(1).normal(size=(count, 2))
    x, labels = points[:, 0], (points[:, 0] > 0).astype(int)
    (shown,) = plots.coloured(points, {"x": x}, ("a", "b")).axes[0].collections
    assert len(shown.get_offsets()) == MOST_POINTS
    np.testing.assert_array_equal(shown.get_array(), np.asarray(shown.get_offsets())[:, 0])
    drawn = plots.clouds({"a": points}, labels, ("a", "b")).axes[0].collections
    drawn = [dots for dots in drawn if len(dots.get_offsets()) > 100]
    assert sum(len(dots.get_offsets()) for dots in drawn) == MOST_POINTS
    for dots, (kind, label) in zip(drawn, LABELS.items(), strict=True):
        np.testing.assert_allclose(dots.get_facecolors()[0], to_rgba(COLOURS[kind], 0.35))
        assert ((np.asarray(dots.get_offsets())[:, 0] > 0) == label).all()


def test_images_show_gev_with_eta_to_the_right_and_phi_upwards():
    image = np.zeros((3, 125, 125))
    image[1, 100, 20] = 0.5
    figure = plots.images({"one": image, "two": image / 2})
    panels = [ax for ax in figure.axes if ax.get_images()]
    assert len(panels) == 6
    shown = panels[1].get_images()[0]
    assert shown.get_array()[20, 100] == 50
    assert shown.origin == "lower"
    assert panels[1].get_title() == "one: ECAL"
    assert shown.norm is panels[4].get_images()[0].norm


@pytest.mark.parametrize("fixed", [False, True])
def test_the_colour_bar_says_what_stays_white(fixed):
    image = np.zeros((3, 125, 125))
    image[:, 3, 4], image[:, 5, 6] = 0.5, 0.001
    image[:, 7, 8] = 0.00005 if fixed else 0.0001
    figure = plots.images({"one": image}, fixed=fixed)
    labels = [ax.get_xlabel() for ax in figure.axes if "white" in ax.get_xlabel()]
    floors = ("0.1", "0.04", "0.03") if fixed else ("0.05",) * 3
    assert labels == [f"GeV per pixel; white: below {floor}" for floor in floors]
    for ax in (ax for ax in figure.axes if ax.get_images()):
        white = ax.get_images()[0].get_array().mask
        assert not white[6, 5]
        assert white[8, 7]


def test_fixed_scales_do_not_depend_on_the_jet_and_show_all_that_is_lit():
    image = np.zeros((3, 125, 125))
    image[:, 3, 4] = 0.5
    bright, faint = (plots.images({"": i}, fixed=True) for i in (image, image / 100))
    limits = [
        [ax.get_images()[0].get_clim() for ax in figure.axes if ax.get_images()]
        for figure in (bright, faint)
    ]
    assert limits[0] == limits[1]
    for (floor, top), smallest in zip(limits[0], layout.SMALLEST_DEPOSITS, strict=True):
        assert floor <= smallest < top


def test_particles_are_drawn_around_the_jet_also_across_the_seam_in_phi():
    eta, phi, pt = np.array([0.3, 0.5]), np.array([3.1, -3.1]), np.array([1.0, 4.0])
    ax = plots.particles({"some": (eta, phi, pt), "none": (eta[:0],) * 3}, 0.4, 3.1, 0.5).axes[0]
    offsets = ax.collections[0].get_offsets()
    np.testing.assert_allclose(offsets, [[-0.1, 0], [0.1, 2 * np.pi - 6.2]])
    small, large = ax.collections[0].get_sizes()
    assert large == 4 * small  # the area, not the radius
    assert ax.patches[0].get_radius() == 0.5


def test_bent_tracks_are_coloured_by_charge():
    paths = np.arange(12.0).reshape(2, 3, 2)  # x and y, steps, particles
    ax = plots.bent_tracks(paths, np.array([-1, 1]), 1.29).axes[0]
    drawn = {line.get_color(): line.get_xydata() for line in ax.lines if len(line.get_xdata())}
    np.testing.assert_array_equal(drawn["tab:red"], paths[:, :, 1].T)
    np.testing.assert_array_equal(drawn["tab:blue"], paths[:, :, 0].T)


def test_blank_images_can_be_shown():
    figure = plots.images({"blank": np.zeros((3, 125, 125))})
    shown = [ax.get_images()[0].get_array() for ax in figure.axes if ax.get_images()]
    assert len(shown) == 3
    assert all(pixels.mask.all() for pixels in shown)  # white
    assert widgets.render(figure).startswith(b"\x89PNG")


def test_feature_maps_are_the_liveliest_of_each_layer():
    quiet, lively = np.zeros((6, 8, 8)), np.zeros((6, 8, 8))
    lively[4, 2, 5], lively[1, 0, 0] = 3, 1
    figure = plots.feature_maps({"first": lively, "last": quiet}, shown=2)
    panels = [ax for ax in figure.axes if ax.get_images()]
    assert [ax.get_title() for ax in panels[:2]] == ["first: map 4", "first: map 1"]
    assert panels[0].get_images()[0].get_array()[5, 2] == 3


def test_histograms_show_quark_and_gluon_jets_apart():
    values, labels = np.r_[np.zeros(50), np.ones(50)], np.repeat([0, 1], 50)
    ax = plots.histograms({"x": values}, labels).axes[0]
    centres = {}
    for patch in ax.patches:
        xy = patch.get_xy()
        centres[patch.get_label()] = xy[xy[:, 1].argmax(), 0]
    assert centres["gluon"] < 0.5 < centres["quark"]


@pytest.mark.parametrize("most", [1, 9, 10, 11, 39, 40, 41, 100, 1000])
def test_whole_numbers_are_all_counted_and_never_cut_in_two(most):
    values = np.repeat(np.arange(most + 1), 3)
    edges = _edges(values, bins=40)
    assert edges[0] == np.floor(np.quantile(values, 0.001)) - 0.5
    assert edges[-1] >= np.quantile(values, 0.999) + 0.5
    assert ((edges * 2) % 2 == 1).all()  # between whole numbers
    assert len(edges) <= 62


def test_all_values_but_one_in_a_thousand_on_each_side_are_shown():
    values = np.random.default_rng(0).normal(size=10_000)
    edges = _edges(values, bins=20)
    assert len(edges) == 21
    assert ((values >= edges[0]) & (values <= edges[-1])).mean() == pytest.approx(0.998, abs=3e-4)


def test_loss_curves_show_the_history():
    history = [{"epoch": i, "train_loss": 4 / i, "validation_loss": 5 / i} for i in (1, 2)]
    ax = plots.loss_curves(history, zero=3).axes[0]
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert drawn["train"] == [4, 2]
    assert drawn["validation"] == [5, 2.5]
    assert drawn["all-zero image"] == [3, 3]


@pytest.mark.parametrize("count", [10, 1000])
def test_outliers_do_not_move_the_limits(count):
    values = np.random.default_rng(0).normal(size=count)
    clean = plots.robust_limits(values)
    spoilt = plots.robust_limits(np.append(values, [1e6, -1e6]))
    np.testing.assert_allclose(clean, spoilt)
    assert clean[0] < values.min() < values.max() < clean[1]


def test_limits_are_the_outer_fences_of_tukey_and_a_tenth():
    """Quartiles 25 and 75 here, so the fences are at -125 and 225."""
    values = np.arange(101.0)
    assert plots.robust_limits(values) == pytest.approx((-10, 110))
    assert plots.robust_limits(np.r_[values, -124, 224]) == pytest.approx((-158.8, 258.8), rel=0.05)
    assert plots.robust_limits(np.r_[values, -140, 240]) == pytest.approx((-10, 110))


FEW = np.random.default_rng(0).normal(size=(9, 2))  # points: too few for the contours of a class
FIGURES = {
    "particles": plots.particles({"a": (np.zeros(1),) * 3}, 0, 0, 0.5),
    "bent_tracks": plots.bent_tracks(np.zeros((2, 3, 1)), np.ones(1), 1.3),
    "images": plots.images({"a": np.zeros((3, 125, 125))}),
    "reconstruction": plots.reconstruction(np.zeros((3, 125, 125)), np.zeros((3, 125, 125))),
    "histograms": plots.histograms({"x": np.arange(9.0)}, np.arange(9) % 2),
    "loss_curves": plots.loss_curves([{"epoch": 1, "train_loss": 1, "validation_loss": 2}]),
    "scatter_by_label": plots.scatter_by_label(np.eye(2), np.arange(2), ("a", "b")),
    "bars": plots.bars({"a": 1.0}, "x", "y"),
    "comparison": plots.comparison({"a": {"MSE": (1, 0.1)}, "b": {"MSE": (0.5, 0.1)}}, ["MSE"]),
    "score_histograms": plots.score_histograms({"a": np.arange(9.0), "b": np.arange(9.0)}, "score"),
    "roc_curves": plots.roc_curves({"a": (np.array([0, 1]), np.array([0, 1]))}),
    "clouds": plots.clouds({"a": FEW}, np.arange(9) % 2, ("a", "b")),
    "coloured": plots.coloured(FEW, {"c": np.arange(9.0)}, ("a", "b")),
    "lines": plots.lines({"a": {"b": np.arange(3.0)}}, "x", np.arange(3)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_is_labelled(name):
    for ax in FIGURES[name].axes:
        ticks = [label.get_text() for label in ax.get_xticklabels()]
        named = ticks and all(text and not text[-1].isdigit() for text in ticks)
        if ax.get_label() == "<colorbar>":
            # it lies below the pictures; in `coloured` the panel's title names it
            assert ax.get_xlabel() or name == "coloured"
        else:
            assert ax.get_ylabel()
            assert ax.get_xlabel() or named


def test_every_figure_function_is_compared_as_a_picture():
    """And labelled, but for rows of small pictures, and maps inside a network without units."""
    text = (Path(__file__).parent / "test_pictures.py").read_text()
    figures = [name for name in plots.__all__ if name != "robust_limits"]
    assert all(f"plots.{name}(" in text for name in figures)
    assert set(figures) - set(FIGURES) == {"feature_maps", "gallery", "grid"}


@pytest.fixture
def shell(monkeypatch):
    """What a notebook shows with, and the words that go with a figure."""
    import IPython
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return shell


@pytest.mark.parametrize("registered", [False, True])
def test_a_notebook_shows_figures_whatever_the_backend(shell, registered):
    """MPLBACKEND=Agg keeps IPython's own backend, and with it all pictures, away."""
    from matplotlib.figure import Figure

    if registered:
        png = shell.display_formatter.formatters["image/png"]
        png.for_type(Figure, lambda figure: b"its own")
    figure = plots.bars({"a": 1.0}, "x", "y")
    shown, _ = shell.display_formatter.format(figure)
    if registered:
        assert shown["image/png"] == b"its own"
    else:
        assert b64decode(shown["image/png"]).startswith(b"\x89PNG")


def test_a_figure_in_a_notebook_says_what_is_in_it(shell):
    values = np.arange(9.0)
    figure = plots.histograms({"mass [GeV]": values, "pT": values}, np.arange(9) % 2)
    shown, told = shell.display_formatter.format(figure)
    assert b64decode(shown["image/png"]).startswith(b"\x89PNG")
    assert told["image/png"]["alt"] == (
        "Figure. share of jets per unit against mass [GeV]: quark, gluon; "
        "share of jets per unit against pT: quark, gluon"
    )


def test_of_jet_images_it_names_the_panels_and_leaves_out_the_colour_bars(shell):
    figure = plots.images({"one": np.zeros((3, 125, 125))})
    told = shell.display_formatter.format(figure)[1]["image/png"]["alt"]
    panels = [f"one: {channel}: Δφ [rad] against Δη" for channel in layout.CHANNELS]
    assert told == "Figure. " + "; ".join(panels)


def test_a_figure_with_a_label_says_that_alone_also_if_the_reader_has_made_it(shell):
    plots.bars({"a": 1.0}, "x", "y")
    figure, ax = plt.subplots()
    plt.close(figure)
    ax.set(xlabel="time")
    figure.set_label("A line that goes up")
    assert shell.display_formatter.format(figure)[1]["image/png"] == {"alt": "A line that goes up"}
