"""What does each idea buy? Small trainings that differ in one thing, with three seeds each.

`RUNGS` lists the networks. All of a ladder see the same jets in batches of the same size, for as
many steps, with the same optimiser and schedule; a seed decides first weights, order and noise.
They are judged by the package's own metrics on held-out jets, which decide nothing. The scatter of
the seeds is the uncertainty.

The jets are those of `data/weights_jets.hdf5`, simulated if that is not there. Each finished row is
kept in `runs/ablation/rows.jsonl`; a benchmark that was killed goes on from there.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean, stdev
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

import qghelpers as qg
from qghelpers.analysis import baselines, latent, metrics
from qghelpers.data.hdf5 import replacing
from qghelpers.evaluation import probes, samples, tagger
from qghelpers.evaluation.samples import Sample
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.layers import LogScale, ZScore, lit
from qghelpers.networks.pca import PCAVAE
from qghelpers.networks.sparse_vae import SparseVAE, TowerVAE
from qghelpers.networks.unet import BalancedUNet, UNetAutoencoder
from qghelpers.networks.vae import VAE
from qghelpers.seeds import Seed
from qghelpers.simulation.simulate import simulate

SIMULATED = 50_000  # as for the shipped networks
SEEDS = (0, 1, 2)
SIZE = 64  # numbers in the code
TRUTH, ECAL = "true jets", 1


@dataclass(frozen=True)
class Settings:
    """How many jets, and for what; the defaults are those of the stored table.

    Attributes:
        train, batch, epochs: what each network is trained on, and how.
        validation: jets by which nothing is chosen; `fit` wants some.
        test: held-out jets that codes are probed on.
        judged: of these, those whose reconstructions are judged.
        drawn: jets that are drawn from each network that draws pixels, and true ones beside them.
        others: that the tagger is trained on; parts of them are the null of drawn jets.
    """

    train: int = 1600
    batch: int = 8
    epochs: int = 1
    validation: int = 32
    test: int = 1500
    judged: int = 400
    drawn: int = 200
    others: int = 2000

    @property
    def jets(self) -> int:
        """All of them together."""
        return self.train + self.validation + self.test + self.others


# --- the rungs that are in no recipe


class NarrowUNet(UNetAutoencoder):
    """The plain U-Net with as few channels as `BalancedUNet`."""

    widths = BalancedUNet.widths


class EvenUNet(BalancedUNet):
    """Kernels of 4 pixels, and the L1 loss alone."""

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        return UNetAutoencoder.loss(self, images)


class LostCountUNet(BalancedUNet):
    """False pixels count like any other."""

    false_weight = 1.0


class NoSumsVAE(SparseVAE):
    """The encoder is not given the sums over rings; the code is asked for them all the same."""

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.encoder(torch.cat([self.scaling(images), lit(images)], dim=1)).flatten(1)
        return self._posterior(F.pad(seen, (0, self.sums)))  # zeros in their place


RUNGS: dict[str, dict[str, Callable[[], JetAutoencoder]]] = {
    "vae": {
        "vae": partial(VAE, SIZE),
        "pca-vae": partial(PCAVAE, SIZE),
        "TowerVAE": partial(TowerVAE, SIZE),
        "sparse-vae": partial(SparseVAE, SIZE),
        "without weight_of_profile": partial(SparseVAE, SIZE, weight_of_profile=0.0),
        "without weight_of_energy": partial(SparseVAE, SIZE, weight_of_energy=0.0),
        "without ring sums in the encoder": partial(NoSumsVAE, SIZE),
    },
    "unet": {
        "unet": UNetAutoencoder,
        "32 channels instead of 64": NarrowUNet,
        "kernels of 4": EvenUNet,
        "lost pixels count 20 times": LostCountUNet,
        "false pixels count 4 times": BalancedUNet,
    },
}
RECIPES = {"vae": "sparse", "unet": "fast"}
COLUMNS = {
    "vae": (
        *("MSE log", "MSE z-score", "AUC probe", "AUC probe, untrained"),
        *("neighbours ECAL", "isolated ECAL", "AUC observables"),
    ),
    "unet": (
        *("L1 Tracks", "L1 ECAL", "L1 HCAL", "lost Tracks, worst place"),
        *("lost Tracks, best place", "false lit ECAL", "AUC tagger"),
    ),
}


class Judge:
    """The jets, and what every network of a ladder is held to on them: columns of values.

    Args:
        jets: at least `settings.jets` of them.
        folder: where the tagger is kept once it is trained.
    """

    def __init__(self, jets: qg.JetImages, settings: Settings, folder: Path) -> None:
        shares = np.array([settings.test, settings.others]) / len(jets)
        rest, self.test, self.others = jets.split((1 - shares.sum(), *shares), seed=0)
        self.train, rest = rest[: settings.train], rest[settings.train :]
        self.validation = rest[: settings.validation]
        self.judged, self.settings, self.folder = self.test[: settings.judged], settings, folder
        self.zscore = ZScore().fit(self.train)
        self.truth = Sample.of_jets(self.test[: settings.drawn])
        self.floors: dict[tuple, float] = {}

    def errors(self, model: JetAutoencoder) -> dict[str, np.ndarray]:
        """Of mean images, since drawn ones take longer than the training."""
        spaces = {"log": LogScale(), "z-score": self.zscore}
        with mock.patch.object(model, "sharp", model.reconstruct_energy):
            return metrics.errors(model, self.zscore, self.judged, spaces)

    @cached_property
    def blank(self) -> dict[str, np.ndarray]:
        """The errors of an image of zeros."""
        return self.errors(baselines.zero(self.zscore))

    def squared(self, model: JetAutoencoder) -> dict[str, float]:
        """Squared errors relative to blank, in both spaces."""
        own = self.errors(model)
        return {
            name: metrics.ratio(own[name].sum(axis=1), self.blank[name].sum(axis=1))[0]
            for name in ("MSE log", "MSE z-score")
        }

    def probe(self, features: Callable[[qg.JetImages], np.ndarray]) -> float:
        """AUC of a linear probe, fitted to the training jets."""
        score = latent.linear_probe(features(self.train), self.train.labels, features(self.test))
        return self._auc(score, self.test)

    def _auc(self, score: np.ndarray, jets: qg.JetImages) -> float:
        return metrics.auc(score[jets.labels == 0], score[jets.labels == 1])[0]

    def floor(self, model: JetAutoencoder, seed: int) -> float:
        """AUC of the probe of the code before training: the same for all weights of the loss."""
        key = type(model), seed
        if key not in self.floors:
            fresh = probes.untrained(model, seed, self.train)
            self.floors[key] = self.probe(partial(latent.encode, fresh))
        return self.floors[key]

    def vae(self, model: JetAutoencoder, seed: int) -> dict[str, float]:
        """The columns of a VAE."""
        row = self.squared(model)
        row["AUC probe"] = self.probe(partial(latent.encode, model))
        row["AUC probe, untrained"] = self.floor(model, seed)
        return row | (self.drawn(model, seed) if model.draws_pixels else {})

    def drawn(self, model: JetAutoencoder, seed: int) -> dict[str, float]:
        """Drawn jets beside true ones; the prior is one Gaussian, for which the jets suffice."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            prior = latent.fit_prior(model, self.train, components=1, seed=seed)
            images = model.draw(self.settings.drawn, prior)
        return self.beside_truth(Sample.of_batches(images.split(metrics.BATCH)))

    def beside_truth(self, sample: Sample) -> dict[str, float]:
        return {name: value for name, (value, _) in samples.compare(self.truth, sample).items()}

    def unet(self, model: JetAutoencoder, seed: int) -> dict[str, float]:
        """The columns of a U-Net."""
        own = self.errors(model)
        row = {
            f"L1 {channel}": metrics.ratio(own["L1"][:, i], self.blank["L1"][:, i])[0]
            for i, channel in enumerate(qg.JetImages.channels)
        }
        shares = metrics.lost(own)
        row |= {name: value for name, (value, _) in shares.items()}
        places = [f"lost Tracks, {a} {b}" for a in ("even", "odd") for b in ("even", "odd")]
        for which, chosen in (("worst", max), ("best", min)):
            row[f"lost Tracks, {which} place"] = chosen(shares[place][0] for place in places)
        return row | self.tagged(partial(metrics.reconstruct, model))

    def tagged(self, again: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Of images as they come back: false lit pixels a jet in ECAL, AUC of a frozen tagger."""
        frozen = self.tagger

        def of_batch(images: Tensor) -> dict[str, Tensor]:
            found = again(images)
            false = (lit(found) * (1 - lit(images)))[:, ECAL].sum(dim=(1, 2))
            return {"score": frozen(found), "false": false}

        found = self.test.map(of_batch, metrics.BATCH)
        score, false = self._auc(found["score"], self.test), found["false"].mean()
        return {"AUC tagger": score, "false lit ECAL": float(false)}

    @cached_property
    def tagger(self) -> torch.nn.Module:
        """The frozen tagger; it is trained on jets that no network sees."""
        path = self.folder / "tagger.safetensors"
        if not path.is_file():
            model = tagger.train(self.others.images, self.others.labels)
            weights = {name: value.contiguous() for name, value in model.state_dict().items()}
            with replacing(path) as temporary:
                save_file(weights, temporary)
        model = tagger.network()
        model.load_state_dict(load_file(path))
        return model.eval()

    def controls(self, ladder: str) -> Iterator[tuple[str, int, dict[str, float]]]:
        """Rows that need no network: name, number of the row, values."""
        if ladder == "unet":
            lit_ecal = float(self.test.pixel_counts()[:, ECAL].mean())
            yield TRUTH, 0, self.tagged(lambda images: images) | {"lit ECAL": lit_ecal}
            return
        yield "mean image", 0, self.squared(baselines.mean(self.zscore, self.train))
        for name, space in {"log": LogScale(), "z-scores": self.zscore}.items():
            model = baselines.pca(space, self.train, SIZE)
            probe = {"AUC probe": self.probe(partial(latent.encode, model))}
            yield f"PCA in {name}", 0, self.squared(model) | probe
        for name, radius in probes.RADII.items():
            features = partial(probes.observed, radius=radius)
            yield f"ten {name}", 0, {"AUC probe": self.probe(features)}
        yield "tagger, with labels", 0, {"AUC probe": self.tagged(lambda x: x)["AUC tagger"]}
        count = self.settings.drawn
        for number in SEEDS:
            part = self.others[number * count : (number + 1) * count]
            yield TRUTH, number, self.beside_truth(Sample.of_jets(part))


class Rows:
    """The finished rows of these settings, kept in a file as soon as they are there."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path, self.settings = path, vars(settings)

    def all(self) -> dict[tuple[str, str, int], dict[str, float]]:
        """Values by ladder, network and seed."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        found = [json.loads(line) for line in lines]
        return {
            (row["ladder"], row["network"], row["seed"]): row["values"]
            for row in found
            if row["settings"] == self.settings
        }

    def add(self, ladder: str, network: str, seed: int, values: dict[str, float]) -> None:
        row = {"ladder": ladder, "network": network, "seed": seed, "values": values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | {"settings": self.settings}) + "\n")


def trained(judge: Judge, ladder: str, network: str, seed: int) -> JetAutoencoder:
    """A rung, trained; if it was stopped before, that goes on.

    Raises:
        KeyboardInterrupt: it is stopped now.
    """
    settings = judge.settings
    recipe = qg.get_recipe(
        ladder, RECIPES[ladder], epochs=settings.epochs, batch_size=settings.batch
    )
    torch.manual_seed(seed)
    model = RUNGS[ladder][network]()
    engine = qg.Engine(precision="32-true", compile=False)
    out = judge.folder / f"{ladder}-{list(RUNGS[ladder]).index(network)}-{seed}"
    history = qg.fit(
        model, judge.train, judge.validation, recipe, seed=seed, out=out, resume=True, engine=engine
    )
    if len(history) < settings.epochs:  # Ctrl-C: no row is made of half a training
        raise KeyboardInterrupt
    return model


def measure(judge: Judge, rows: Rows, ladder: str, seed: int) -> None:
    """Train and judge all rungs of a ladder with one seed; before the first, the controls."""
    if seed == SEEDS[0] and (ladder, TRUTH, 0) not in rows.all():
        for row in list(judge.controls(ladder)):
            rows.add(ladder, *row)
    for network in RUNGS[ladder]:
        if (ladder, network, seed) not in rows.all():
            model = trained(judge, ladder, network, seed)
            rows.add(ladder, network, seed, getattr(judge, ladder)(model, seed))


def table(rows: dict[tuple[str, str, int], dict[str, float]], ladder: str) -> str:
    """Mean and standard error over the seeds, in Markdown; what has one row has no error."""
    names = list(dict.fromkeys(name for own, name, _ in rows if own == ladder))
    names.sort(key=lambda name: name in RUNGS[ladder])  # controls first
    columns = COLUMNS[ladder]
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    for name in names:
        own = [values for key, values in rows.items() if key[:2] == (ladder, name)]
        lines.append([name, *(cell([v[c] for v in own if c in v]) for c in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(values: list[float]) -> str:
    if not values:
        return ""
    digits = 3 if max(map(abs, values)) < 10 else 1
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return f"{fmean(values):.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def benchmark(jets: qg.JetImages, folder: Path, settings: Settings, seeds=SEEDS) -> Iterator[str]:
    """The table of each ladder; all of one seed comes before the next."""
    folder.mkdir(parents=True, exist_ok=True)
    judge, rows = Judge(jets, settings, folder), Rows(folder / "rows.jsonl", settings)
    for seed in seeds:
        for ladder in RUNGS:
            measure(judge, rows, ladder, seed)
    for ladder in RUNGS:
        yield table(rows.all(), ladder)


def main() -> None:
    path, settings = qg.home() / "data" / "weights_jets.hdf5", Settings()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        simulate(path, SIMULATED, Seed.SHIPPED)
    jets = qg.load_jets(path, settings.jets)
    for text in benchmark(jets, qg.home() / "runs" / "ablation", settings):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
