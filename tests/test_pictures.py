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
    values = {"first": (0.9, 0.02), "second": (0.4, 0.1), "third": (0.6, 0.05)}
    return plots.bars(values, "score", "AUC", reference=0.5)


@compared
def test_a_comparison_of_models():
    table = {
        "blank": {"MSE": (1.0, 0.0), "L1": (1.0, 0.0)},
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
