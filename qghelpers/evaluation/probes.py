"""What does a code know of quark and gluon? Three probes, beside a ceiling and a floor.

The ceiling is a supervised network on the images; the floor is the code of the same network before
its training. Plain observables stand beside them.
"""

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qghelpers.analysis import latent, metrics
from qghelpers.analysis import observables as physics
from qghelpers.data.jets import JetImages
from qghelpers.evaluation import tagger
from qghelpers.networks import base
from qghelpers.networks.base import JetAutoencoder

JETS = 20_000  # to fit on, at most
JET_RADIUS = 0.5  # in eta and phi, of the jets that were looked for in the collisions
RADII = {"observables": np.inf, "observables of the jet": JET_RADIUS}
NEIGHBOURS = 100
PROBES = {
    "linear": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "neighbours": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier(NEIGHBOURS)),
    "trees": lambda: HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.05, random_state=0
    ),
}


def probed(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Areas under the ROC curve, `AUC linear`, `AUC neighbours` and `AUC trees`, on test jets.

    Args:
        train, test: frozen features with shapes `(n, k)` and `(m, k)`; n is at least
            `NEIGHBOURS`.
        labels, truth: 0 or 1, of the training and of the test jets.
    """
    row = {}
    for name, probe in PROBES.items():
        score = probe().fit(train, labels).predict_proba(test)[:, 1]
        row[f"AUC {name}"] = metrics.auc(score[truth == 0], score[truth == 1])
    return row


def observed(jets: JetImages, radius: float) -> np.ndarray:
    """The observables of jets, from the pixels within a radius, as features: `(n, 10)`."""
    return np.stack(list(physics.of_jets(jets, radius).values()), axis=1)


def untrained(
    model: JetAutoencoder, seed: int = 0, train: JetImages | None = None
) -> JetAutoencoder:
    """The same network with random weights; its scaling is kept.

    What its code knows is owed to the architecture and to what the network is given.

    Args:
        model: a network that `base.rebuild` can make anew.
        seed: of the weights; the caller's random numbers are left alone.
        train: jets that it is prepared for, as `fit` does before the first step.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = base.rebuild(base.description(model))
    fresh.scaling.load_state_dict(model.scaling.state_dict())
    if train is not None:
        fresh.prepare(train)
    return fresh.eval()


def rows(
    models: dict[str, JetAutoencoder], train: JetImages, test: JetImages, seed: int = 0
) -> dict[str, dict[str, tuple[float, float]]]:
    """The probes of each network's code, and what a tagger still finds in its reconstructions.

    Args:
        models: by name; those with a code.
        train: jets to fit probes and tagger on; only labelled ones, and `JETS` at most, are used.
        test: held-out jets; only labelled ones are used.
        seed: of the tagger and of untrained networks.

    Returns:
        A row for each model, for one `untrained` of the last model's kind, for the `observables`
        of the whole image, those of the jet (within `JET_RADIUS`), and for the `tagger`.
        `AUC tagger` is that of the frozen tagger on sharp reconstructions; in the row `tagger`, on
        the originals.
    """
    train, test = (jets[jets.labels >= 0] for jets in (train, test))
    train = train.sample(JETS, seed)
    judge = tagger.train(train.images, train.labels, seed=seed)

    def tagged(images) -> tuple[float, float]:
        score = tagger.scores(judge, images, len(test))
        return metrics.auc(score[test.labels == 0], score[test.labels == 1])

    fresh = untrained(list(models.values())[-1], seed, train)
    table = {}
    for name, model in (models | {"untrained": fresh}).items():
        codes = (latent.encode(model, jets) for jets in (train, test))
        table[name] = _row(*codes, train, test)
        if name != "untrained":
            table[name]["AUC tagger"] = tagged(
                lambda which, model=model: metrics.reconstruct(model, test.images(which), True)
            )
    for name, radius in RADII.items():
        table[name] = _row(*(observed(jets, radius) for jets in (train, test)), train, test)
    table["tagger"] = {"AUC tagger": tagged(test.images)}
    return table


def _row(fitted: np.ndarray, judged: np.ndarray, train: JetImages, test: JetImages):
    return probed(fitted, train.labels, judged, test.labels)
