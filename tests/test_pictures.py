"""Figures compared as pictures: a wrong colour bar, axis, legend or error bar fails.

The input is asymmetric, so that nothing can be exchanged unseen. After a wanted change:
`pytest tests/test_pictures.py --mpl-generate-path tests/baseline`, and look at every picture.
"""

import numpy as np
import pytest

from qghelpers import plots

compared = pytest.mark.mpl_image_compare(
    baseline_dir="baseline", style="default", tolerance=1, savefig_kwargs={"dpi": 60}
)


def jet() -> np.ndarray:
    """A jet that looks different in each channel, direction and quarter."""
    image = np.zeros((3, 125, 125))
    image[0, 70, 62], image[0, 62, 66], image[0, 40, 50] = 0.4, 0.05, 0.002
    image[1, 64:72, 60:64] = np.geomspace(1e-4, 0.1, 32).reshape(8, 4)
    image[2, 60:65, 60:65], image[2, 70:75, 60:65], image[2, 60:65, 85:90] = 0.02, 0.005, 1e-4
    return image


@compared
def test_two_jets():
    return plots.images({"whole": jet(), "half the energy": jet() / 2})


@compared
def test_versions_of_a_jet_side_by_side():
    turned = jet().transpose(0, 2, 1)
    return plots.gallery({"whole": jet(), "half": jet() / 2, "turned": turned}, half_width=0.8)


@compared
def test_a_reconstruction():
    reconstructed = jet()
    reconstructed[:, 70:] = 0
    return plots.reconstruction(jet(), reconstructed)


@compared
def test_quark_and_gluon_jets_as_points():
    x = np.arange(40.0)
    points = np.stack([x, (x % 7) ** 2], axis=1)
    return plots.scatter_by_label(points, (x > 25).astype(int), ("number", "rest squared"))


@compared
def test_distributions_of_quark_and_gluon_jets():
    x = np.arange(300)
    columns = {"pT [GeV]": np.sqrt(x), "lit pixels": x // 20}
    return plots.histograms(columns, (x > 200).astype(int), bins=12)


@compared
def test_bars_with_uncertainties():
    values = {"mass": (0.9, 0.02), "girth": (0.4, 0.1), "pT": (0.6, 0.05)}  # in no order
    return plots.bars(values, "score", "AUC", reference=0.5)


@compared
def test_a_comparison_of_models():
    table = {
        "zero": {"MSE": (1.0, 0.0), "L1": (1.0, 0.0)},
        "network": {"MSE": (0.4, 0.05), "L1": (0.7, 0.02)},
        "without L1": {"MSE": (0.6, 0.1)},
    }
    return plots.comparison(table, ["MSE", "L1"])


@compared
def test_roc_curves():
    share = np.linspace(0, 1, 9)
    return plots.roc_curves({"good": (share, share**0.25), "bad": (share, share**1.2)})


@compared
def test_distributions_of_scores():
    scores = {"ordinary": np.sqrt(np.arange(90)), "strange": 4 + np.arange(40) / 5}
    return plots.score_histograms(scores, "score", log=True)


@compared
def test_loss_curves():
    history = [{"epoch": i, "train_loss": 9 / i, "validation_loss": 6 / i + 2} for i in (1, 2, 3)]
    return plots.loss_curves(history, zero=4)


@compared
def test_particles_around_a_jet():
    eta, phi, pt = np.array([0.1, 0.5, 0.9]), np.array([3.1, -3.0, 2.8]), np.array([9.0, 2.0, 1.0])
    kinds = {"charged": (eta, phi, pt), "neutral": (eta[:1] - 0.8, phi[:1] + 0.4, pt[:1] / 2)}
    return plots.particles(kinds, jet_eta=0.3, jet_phi=3.1, radius=0.5)


@compared
def test_tracks_in_the_field():
    way = np.linspace(0, 1, 9)[:, None]
    x, y = way * np.array([1.2, 0.5, -0.9]), way**2 * np.array([0.3, -0.8, 0.1])
    return plots.bent_tracks(np.stack([x, y]), charges=np.array([1, -1, 2]), radius=1.29)


@compared
def test_maps_inside_a_network():
    maps = np.zeros((3, 8, 12))
    maps[0, 2:4, 1:9], maps[1, 6, 10], maps[2] = 1, 4, 0.5
    return plots.feature_maps({"first": maps, "second": maps[::-1] / 3}, shown=2)


@compared
def test_a_closer_look_at_a_jet():
    return plots.images({"core": jet()}, half_width=0.3)


@compared
def test_a_jet_on_the_scales_of_all_jets():
    """All of HCAL is there, and the faintest crystals: the scales reach below what is lit."""
    return plots.images({"jet": jet(), "a tenth": jet() / 10}, half_width=0.6, fixed=True)


@compared
def test_numbered_bars():
    return plots.bars(np.array([3.0, 1.0, 2.0]), "latent number", "nats")


@compared
def test_a_comparison_of_many_columns_on_a_log_axis():
    columns = ["W1 pTD", *(f"W1 energy {name}" for name in ("a", "b", "c", "d", "e"))]
    rows = {
        name: {column: (level * (i + 1), 0.2 * level) for i, column in enumerate(columns)}
        for name, level in {"low": 0.01, "high": 0.3}.items()
    }
    return plots.comparison(rows, columns, "distance [std]", reference=None, log=True)


@compared
def test_shares_without_a_log_axis():
    return plots.score_histograms({"one": np.arange(50) ** 1.5, "two": np.arange(30) * 9.0}, "x")


def cloud() -> tuple[np.ndarray, np.ndarray]:
    """Points of two classes, one of them narrower and further up, and one point far out."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 2)) * [3, 1]
    labels = (np.arange(300) % 3 == 0).astype(int)
    points[labels == 1] = points[labels == 1] / 2 + [1, 3]
    points[0] = [60, -40]
    return points, labels


@compared
def test_clouds_with_contours_and_one_that_an_outlier_spoils():
    points, labels = cloud()
    panels = {"robust": points, "whole": points, "turned": points[:, ::-1]}
    return plots.clouds(panels, labels, ("first", "second"), whole=["whole"])


@compared
def test_a_cloud_in_the_colours_of_quantities_and_of_an_angle():
    points, _ = cloud()
    angle = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    quantities = {"height": points[:, 1], "angle [°]": angle}
    return plots.coloured(points, quantities, ("first", "second"), cyclic=["angle [°]"])


@compared
def test_a_grid_of_pictures_on_one_scale():
    image = 100 * jet().sum(axis=0)
    rows = {"one": image[None], "fading": np.stack([image / 3**i for i in range(3)])}
    return plots.grid(rows, ["0", "1", "2"], half_width=0.3)


@compared
def test_lines_with_and_without_uncertainties():
    rising = np.array([[1.0, 0.3], [2.0, 0.1], [4.0, 0.5], [4.5, 0.2]])
    panels = {
        "share": {"rising": rising, "short": rising[:2, 0]},
        "other": {"falling": rising * [-1, 1]},
    }
    return plots.lines(panels, "numbers", [2, 4, 8, 32], log=True)


@compared
def test_lines_over_whole_numbers():
    return plots.lines({"energy": {"walk": np.arange(5.0) ** 2}}, "step", np.arange(5))
