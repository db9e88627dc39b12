"""A finished run judged on jets that it has not seen, beside its baselines."""

from collections.abc import Sequence
from pathlib import Path

from qghelpers import metrics, runs
from qghelpers.files import DataError
from qghelpers.jets import JetImages
from qghelpers.loading import load_jets

PCA_COMPONENTS = 32  # for a network without a latent size of its own


def evaluate(
    folder: str | Path, data: str | Path | Sequence[str | Path]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Errors of a run's network relative to the all-zero image, and of the baselines.

    On the run's own file, the test part of its split is used; on any other file, all jets.
    The mean image and the principal components are those of the run's training jets or, on
    another file, of half of that file, the other half being tested.

    Args:
        folder: the run folder; `metrics.json` is written into it.
        data: an HDF5 file of jets, or several.

    Returns:
        As `metrics.compare`; the last row is the network.

    Raises:
        layout.DataError: the run or the file cannot be used.
    """
    folder = Path(folder)
    model, config = runs.load_run(folder), runs.read_config(folder)
    train, test = held_out(config, data)
    components = getattr(model, "latent_dim", PCA_COMPONENTS)
    scaling = model.scaling
    reconstructions = {
        "all-zero image": metrics.zero_baseline(scaling),
        "mean image": metrics.mean_baseline(scaling, train),
        f"PCA, {components} numbers": metrics.pca_baseline(scaling, train, components),
        f"{config['network']} ({config.get('recipe_name', 'own recipe')})": model.reconstruct,
    }
    table = metrics.compare(reconstructions, scaling, test)
    runs.write_json(folder / "metrics.json", {"test_jets": len(test), "relative_to_zero": table})
    return table


def held_out(config: dict, data: str | Path | Sequence[str | Path]) -> tuple[JetImages, JetImages]:
    """Jets to fit baselines on, and jets that neither they nor the run have seen."""
    limit = config.get("limit")
    jets = load_jets(data, limit, config["seed"])
    if jets.source != config["source"]:
        return (jets if limit is None else load_jets(data)).split((0.5, 0.5), config["seed"])
    train, _, test = jets.split(seed=config["seed"])
    if train.fingerprint() != config["train"]["fingerprint"]:
        raise DataError(
            f"{data} is the file of this run, but the run was split in another way: evaluate it "
            "on another file, or train with `python -m qghelpers train`"
        )
    return train, test
