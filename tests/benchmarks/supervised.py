"""How well a small supervised network tells quark from gluon in simulated jets.

On the public file, networks trained on as many jets or more reach an area under the ROC curve of
0.77 to 0.81. Simulated jets should be neither much easier nor much harder.
"""

import tempfile
from pathlib import Path

import qghelpers as qg
from qghelpers.analysis.metrics import auc
from qghelpers.evaluation import tagger
from qghelpers.seeds import Seed
from qghelpers.simulation.simulate import simulate

TRAIN, TEST = 12_000, 3000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.hdf5"
        simulate(path, TRAIN + TEST, Seed.SUPERVISED)
        jets = qg.load_jets(path)
        trained, test = jets[:TRAIN], jets[TRAIN:]
        model = tagger.train(trained.images, trained.labels)
        score = tagger.scores(model, test.images, len(test))
        lit = test.pixel_counts()[:, 0]
    for name, values in (("network", score), ("lit Tracks pixels, fewer is quark", -lit)):
        area, error = auc(values[test.labels == 0], values[test.labels == 1])
        print(f"{name}: AUC {area:.3f} +- {error:.3f} on {TEST} jets not trained on")


if __name__ == "__main__":
    main()
