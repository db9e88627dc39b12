"""`load_jets`: choose the input file, check its content and open it."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from qghelpers.data import cache, checks, hdf5, layout, reading, sparse
from qghelpers.data.hdf5 import DataError
from qghelpers.data.jets import JetImages, digest, first_equal, random_rows, whole_number
from qghelpers.files import finding
from qghelpers.locks import locked
from qghelpers.seeds import Seed

__all__ = ["SAMPLE_FILE", "home", "load_jets", "load_sample"]

SAMPLE_FILE = "simulated_jets.hdf5"
SAMPLE_JETS = 2000
PACKAGED = Path(__file__).parent / "simulation" / "samples"  # small files; see `load_sample`
JETS_TO_CHECK = 100  # random jets from which the order of the channels is checked
JETS_TO_COUNT = 1000  # random jets whose lit pixels are counted, to check the labels
MIN_JETS_TO_COUNT = 20  # of each label
CLEARLY = 3  # standard errors
MIN_JETS_TO_CHECK = 2  # with fewer it is not: in one jet, Tracks may have more lit pixels than ECAL


def home() -> Path:
    """The folder that holds `data/` and `runs/`.

    This is `$QGHELPERS_HOME` if set, else the checkout of this package, else the current folder,
    or the one above where that is a folder `notebooks`.
    """
    if folder := os.environ.get("QGHELPERS_HOME"):
        return Path(folder).expanduser()
    checkout = Path(__file__).parents[1]
    if (checkout / "pyproject.toml").is_file():
        return checkout
    here = Path.cwd()
    return here.parent if here.name == "notebooks" else here


def load_jets(
    path: str | Path | Sequence[str | Path] | None = None,
    limit: int | None = None,
    seed: int = 0,
    channels: Sequence[str] = layout.CHANNELS,
    check_units: bool = True,
) -> JetImages:
    """Open one or several files of jet images.

    The first time, the non-zero pixels are copied into a cache beside the file; from then on the
    cache is mapped into memory, which takes a fraction of a second. Jets that are in the files
    more than once get the same `twin`, so that `split` keeps them together.

    Args:
        path: HDF5 files with the public file's layout. By default the public file if it lies in
            `data/`, under any name, else a sample of 2,000 jets, which is simulated there the
            first time.
        limit: keep a random subset of at most this many jets. Without a cache, only these are
            read.
        seed: of the subset.
        channels: order of the channels in the file. It is checked against the pixels; the images
            of the returned jets have the usual order.
        check_units: refuse pixels whose mean is far from the public file's; else warn of them.

    Raises:
        qghelpers.DataError: a file is missing or damaged, or has another layout or other units.
        TypeError: `path` or `limit` is of another kind.
        ValueError: `limit` is below 1, or `channels` are not Tracks, ECAL and HCAL.
    """
    channels = tuple(channels)
    limit = limit if limit is None else whole_number("limit", limit)
    seed = whole_number("seed", seed)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: ask for one jet at least")
    if seed < 0:
        raise ValueError(f"seed is {seed}: give 0 or more")
    if sorted(channels) != sorted(layout.CHANNELS):
        raise ValueError(f"channels are {', '.join(layout.CHANNELS)}, not {', '.join(channels)}")
    paths = [_default_file()] if path is None else _paths(path)
    same = channels == layout.CHANNELS
    columns, source, chosen, parts, rows = _read(paths, limit, seed)
    for name, images in zip(paths, parts, strict=True):
        _check_pixels(images, channels, name, check_units)
    jets = JetImages(
        parts[0] if len(parts) == 1 else sparse.JoinedImages(parts),
        rows,
        *(column[chosen] for column in columns),
        source=source,
        order=slice(None) if same else [channels.index(name) for name in layout.CHANNELS],
        origin=finding.origin(paths),
    )
    if len(paths) > 1 or np.isfinite([jets.pt, jets.mass]).all():
        _tie_copies(jets, len(paths))
    _warn_of_labels(jets)
    if path is None:
        tqdm.write(finding.opened(paths[0]))
    return jets


def load_sample(*names: str) -> JetImages:
    """Open one or several of the small files of simulated jets that come with the package.

    - "qcd", 500 quark and gluon jets like those of the default sample of `load_jets`;
    - "w", "top", "dark", 160 jets each of other processes;
    - "qcd_like_w", "qcd_like_top", "qcd_like_dark", as many quark and gluon jets with the
      transverse momenta and the jet radius of these;
    - "qcd_hard", 1,000 more quark and gluon jets with the momenta and the radius of tops;
    - "black_box", 180 jets that nothing is said about.

    They are read into memory; no cache is kept of them.

    Raises:
        ValueError: there is no such file, or none is named.
    """
    known = sorted(path.stem for path in PACKAGED.glob("*.hdf5"))
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} does not come with the package: there are {known}")
    return load_jets([PACKAGED / f"{name}.hdf5" for name in names])


def _paths(path: str | bytes | os.PathLike | Iterable) -> list[Path]:
    """The path of each file."""
    if isinstance(path, h5py.HLObject) or hasattr(path, "read"):
        raise TypeError("load_jets opens the file by itself: give its path, or several in a list")
    single = isinstance(path, str | bytes | os.PathLike)
    try:
        paths = [Path(os.fsdecode(name)).expanduser() for name in ([path] if single else path)]
    except TypeError:
        raise TypeError(f"{path!r} is no path: give that of a file, or several in a list") from None
    if not paths:
        raise ValueError("no file was given: name one at least")
    return paths


def _read(paths: Sequence[Path], limit: int | None, seed: int):
    """Columns and identity of all jets, indices of the chosen ones, images by file, their rows."""
    with ExitStack() as stack:
        files = [stack.enter_context(hdf5.open_file(path)) for path in paths]
        columns = [list(parts) for parts in zip(*map(hdf5.columns, files), strict=True)]
        for before, i in enumerate(range(1, len(files))):  # twins are of the same file
            columns[-1][i] = columns[-1][i] + columns[-1][before].max() + 1
        columns = [np.concatenate(parts) for parts in columns]
        starts = sparse.offsets_of([len(file["X_jets"]) for file in files])
        chosen = random_rows(starts[-1], limit, seed)
        shares = np.split(chosen, np.searchsorted(chosen, starts[1:-1]))
        wanted = [share - start for share, start in zip(shares, starts[:-1], strict=True)]
        opened = [_images(file["X_jets"], own) for file, own in zip(files, wanted, strict=True)]
    parts = tuple(images for images, _ in opened)
    starts = sparse.offsets_of([len(images) for images in parts])[:-1]
    rows = [own + start for (_, own), start in zip(opened, starts, strict=True)]
    return columns, _source(columns, paths), chosen, parts, np.concatenate(rows)


def _source(columns: list[np.ndarray], paths: Sequence[Path]) -> str:
    """What identifies the jets of some files: their columns or, if pT or mass is unknown, bytes."""
    identity = columns[:3]
    if not np.isfinite(identity).all():
        tqdm.write(f"{finding.origin(paths)}: pT or mass is not stored, and NaN", file=sys.stderr)
        contents = [np.frombuffer(cache.content_digest(path).encode(), "u1") for path in paths]
        identity = [*identity, *contents]
    return digest(*identity)


def _images(dataset: h5py.Dataset, rows: np.ndarray) -> tuple[sparse.SparseImages, np.ndarray]:
    """Images that include those at `rows`, from the cache or read from the file, and their rows.

    No cache is kept of the small files in the package, whose folder may be write-protected.
    """
    if Path(dataset.file.filename).parent == PACKAGED:
        return sparse.SparseImages.join(reading.read_blocks(dataset, rows)), np.arange(len(rows))
    if len(rows) == len(dataset):
        return cache.open_images(dataset), rows
    if (images := cache.find(dataset)) is not None:
        return images, rows
    return sparse.SparseImages.join(reading.read_blocks(dataset, rows)), np.arange(len(rows))


def _check_pixels(
    images: sparse.SparseImages, channels: tuple[str, ...], path: Path, check_units: bool
) -> None:
    """Raise a DataError if pixels are not finite, or contradict the units or `channels`."""
    bad = int((~np.isfinite(images.values)).sum())
    if bad:
        raise DataError(
            f"{path}: {bad} values are not finite (NaN or infinite): simulate or download the file "
            f"again, or leave those jets out, {checks.converting(path)} --skip-bad`"
        )
    if len(images) < MIN_JETS_TO_CHECK:
        return
    rows = np.random.default_rng(0).permutation(len(images))[:JETS_TO_CHECK]
    some = images.dense(rows).permute(0, 2, 3, 1).numpy()
    if problem := layout.units_problem(some, channels):
        found, cure = problem[0], problem[1].replace("FILE", shlex.quote(path.name))
        line = f"{path}: the pixels should be energies in GeV/100, but {found}: {cure}"
        if check_units:
            raise DataError(f"{line} (or load_jets(..., check_units=False) takes them as they are)")
        tqdm.write(f"WARNING: {line}", file=sys.stderr)
    found = layout.channels_by_evidence(some)
    if found == channels or ("?" in found and not check_units):
        return
    if "?" in found:
        raise DataError(
            f"{path}: the pixels do not show which channel is which (HCAL alone should have "
            "constant 5x5 blocks, ECAL more lit pixels than Tracks): `python -m qghelpers inspect` "
            "says what is there; give the file that it was made from"
        )
    raise DataError(
        f"{path}: the channels should be {', '.join(channels)}, but the pixels say "
        f"{', '.join(found)} (HCAL alone has constant 5x5 blocks, Tracks is the sparser of the "
        f"others): name the file's order, load_jets(..., channels={found}), or reorder them, "
        f"{checks.converting(path)} --channels {' '.join(found)}`"
    )


def _tie_copies(jets: JetImages, files: int) -> None:
    """Give jets that are there more than once the same `twin`, and say so.

    Copies have the same label, pT and mass. Where more jets share these than there are files, pT
    and mass may be rounded, or not known: then copies have the same energies in each channel, too.
    """
    known = [column for column in (jets.pt, jets.mass) if np.isfinite(column).all()]
    first = first_equal(jets.labels, *known)
    shared = np.bincount(first, minlength=len(first))
    if shared.max() > files:
        alike = np.flatnonzero(shared[first] > 1)
        first[alike] = alike[first_equal(first[alike], *jets[alike].sums().T)]
    copies = np.flatnonzero(jets.twin[first] != jets.twin)
    if len(copies):
        same = np.arange(jets.twin.max() + 1)
        same[jets.twin[copies]] = jets.twin[first[copies]]
        jets.twin = same[jets.twin]
        tqdm.write(
            f"WARNING: {len(copies)} of the {len(jets)} jets of {jets.origin} are copies of others "
            "(same label, pT and mass, or the same energies): give each file once; split() keeps "
            "copies together",
            file=sys.stderr,
        )


def _warn_of_labels(jets: JetImages) -> None:
    """Warn if jets with y = 1 clearly have more lit pixels in ECAL, where gluon jets have more."""
    some = jets[jets.process == layout.QCD].sample(JETS_TO_COUNT)
    ecal = layout.CHANNELS.index("ECAL")
    counts = [part.pixel_counts()[:, ecal] for part in (some.quarks, some.gluons)]
    if min(map(len, counts)) < MIN_JETS_TO_COUNT:
        return
    quark, gluon = counts
    error = np.sqrt(quark.var() / len(quark) + gluon.var() / len(gluon))
    if quark.mean() - gluon.mean() > CLEARLY * error:
        tqdm.write(
            f"WARNING: {jets.origin}: jets with y = 1 have more lit pixels in ECAL, as gluon jets "
            "should, so the labels look swapped (0 is gluon, 1 is quark): if they are, `python -m "
            "qghelpers convert FILE OUT.hdf5 --labels gluon=1 quark=0` mends the file",
            file=sys.stderr,
        )


def _default_file() -> Path:
    """The public file if it is there, else the sample, which is simulated the first time.

    Where Pythia8 is not installed, it is the smaller sample that comes with the package.
    """
    folder = home() / "data"
    sample = folder / SAMPLE_FILE
    if (public := finding.public_file(folder, home(), Path())) is not None:
        return public
    if sample.is_file():
        return sample
    from qghelpers.simulation import pythia  # only here: few need it, and it takes its time

    if not pythia.installed():
        tqdm.write(
            f"{layout.PUBLIC_FILE} is not in {folder.name}/, and Pythia8 is not installed, so the "
            "small sample that comes with the package is opened"
        )
        return PACKAGED / "qcd.hdf5"
    from qghelpers.simulation.simulate import simulate

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set QGHELPERS_HOME to a folder you can write to"
        raise DataError(f"{folder} cannot be made ({error.strerror}): {remedy}") from error
    with locked(sample):
        if not sample.is_file():  # else another process has made it meanwhile
            tqdm.write(
                f"{layout.PUBLIC_FILE} is not in {folder.name}/, so {SAMPLE_JETS} jets are "
                f"simulated there into {SAMPLE_FILE}, once; it takes about a minute."
            )
            simulate(sample, SAMPLE_JETS, Seed.SAMPLE)
    return sample
