"""The jet store on a file as large as the public one: memory, conversion, random batches.

The file is made of simulated jets with pile-up, rolled, and varied pixel by pixel. Single jets are
read from it, in chunks of 16 jets, all of which are decompressed for one; and from a copy in chunks
of one jet, with which that is fastest. All ratios are medians of alternating runs.
"""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from joblib import cpu_count
from tqdm import tqdm

from qghelpers import load_jets
from qghelpers.data import cache, hdf5, layout, reading

JETS = 139_306
PART = 16_384  # jets of the file that conversions are timed on
SIMULATED = 2000
REPEATS = 5
OURS = ("to sparse images (ours)", "the same, kept on disk and checked")
BATCH = 128
SINGLE = 2048  # jets of the copy in chunks of one jet


def make(path: Path, jets: int, rng: np.random.Generator) -> None:
    """A file of `jets` varied copies of the default sample's jets."""
    sample = load_jets(limit=SIMULATED)
    images = sample.images().permute(0, 2, 3, 1).numpy()
    with hdf5.create_file(path, jets) as file:
        file["y"][:] = np.resize(sample.labels, jets)
        file["pt"][:], file["m0"][:] = rng.uniform(70, 340, (2, jets))
        for start in tqdm(range(0, jets, 256), desc="making the file"):
            size = min(256, jets - start)
            which = rng.integers(len(images), size=size)
            block = np.roll(images[which], 5 * rng.integers(25, size=2), axis=(1, 2))
            block[..., :2] *= rng.random((size, 125, 125, 1), dtype=np.float32) + 0.5
            noise = rng.random((size, 25, 25), dtype=np.float32) + 0.5
            block[..., 2] *= noise.repeat(5, axis=1).repeat(5, axis=2)
            file["X_jets"][start : start + size] = block


def seconds(function, *args) -> float:
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


def plain_loop(images: h5py.Dataset) -> None:
    """What one writes first: read block by block, keep what is not zero."""
    parts = []
    for start in range(0, len(images), 256):
        block = images[start : start + 256].reshape(-1, 46875)
        row, position = np.nonzero(block)
        parts.append((row, position.astype(np.uint16), block[row, position]))


def plain_read(images: h5py.Dataset) -> None:
    for start in range(0, len(images), 256):
        images[start : start + 256]


def bare(images: h5py.Dataset) -> None:
    """Fetch and decompress the same chunks, with the same number of threads, and no more.

    With the exact size given, and with memory that is not fetched afresh for every chunk.
    """
    reading._keep_freed_memory()
    size = int(np.prod(images.chunks)) * 4

    def one(start: int) -> None:
        _, data = images.id.read_direct_chunk((start, 0, 0, 0))
        reading.zlib.decompress(data, bufsize=size)

    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(one, range(0, len(images), images.chunks[0])))


def sparse(images: h5py.Dataset) -> None:
    for _ in reading.read_blocks(images):
        pass


def convert(images: h5py.Dataset) -> None:
    for place in cache._places(Path(images.file.filename)):
        place.unlink(missing_ok=True)
    cache.open_images(images)


def conversions(path: Path) -> None:
    ways = {
        "h5py loop, one thread": plain_loop,
        "h5py, reading alone": plain_read,
        f"decompression alone, {cpu_count()} threads": bare,
        OURS[0]: sparse,
        OURS[1]: convert,
    }
    with h5py.File(path) as file:
        images = file["X_jets"]
        for run in ways.values():  # once unmeasured: pages in memory, loops compiled
            run(images)
        runs = [{way: seconds(run, images) for way, run in ways.items()} for _ in range(REPEATS)]
    print(f"conversion of {len(images)} jets, gzip, chunks of {layout.CHUNK} jets:")
    for way in ways:
        speed = PART / median(run[way] for run in runs)
        print(f"  {way:<38}{speed:>7.0f} jets/s", end="")
        if way not in OURS:
            ratios = (median(run[way] / run[our] for run in runs) for our in OURS)
            print("; ours is {:.2f} times as fast, {:.2f} with the cache".format(*ratios), end="")
        print()


def copy_in_single_chunks(path: Path, copy: Path) -> None:
    """The first jets of a file, compressed one by one."""
    with h5py.File(path) as file, h5py.File(copy, "w") as single:
        options = {"chunks": (1, *layout.IMAGE_SHAPE), "compression": "gzip", "compression_opts": 1}
        single.create_dataset("X_jets", data=file["X_jets"][:SINGLE], **options)


def batches(path: Path) -> None:
    torch.set_num_threads(1)
    jets = load_jets(path)
    order = np.random.default_rng(0).permutation(len(jets))

    def ours() -> None:
        for start in range(0, 100 * BATCH, BATCH):
            jets.images(order[start : start + BATCH])

    def one_by_one(images: h5py.Dataset) -> None:
        for row in order[order < len(images)][:BATCH]:
            torch.from_numpy(images[row])

    copy = path.with_name("single.hdf5")
    copy_in_single_chunks(path, copy)
    with h5py.File(path) as file, h5py.File(copy) as single:
        files = file["X_jets"], single["X_jets"]
        runs = [
            (100 * BATCH / seconds(ours), *(BATCH / seconds(one_by_one, data) for data in files))
            for _ in range(REPEATS)
        ]
        chunks = [data.chunks[0] for data in files]
    fast = median(run[0] for run in runs)
    print(f"random batches of {BATCH}, one core: {fast:.0f} images/s")
    for i, size in enumerate(chunks, start=1):
        slow, ratio = median(run[i] for run in runs), median(run[0] / run[i] for run in runs)
        print(f"random images by h5py, one by one, chunks of {size}: ", end="")
        print(f"{slow:.0f} images/s; ratio {ratio:.0f}")


OPEN = """
import sys, time
from pathlib import Path
from qghelpers import ZScore, load_jets
started = time.perf_counter()
jets = load_jets(sys.argv[1])
opened = time.perf_counter() - started
train, validation, test = jets.split()
ZScore().fit(train)
for count, batch in enumerate(train.batches(128, shuffle=0)):
    if count == 300:
        break
status = Path("/proc/self/status").read_text().split()  # Linux; counts this process alone
peak = int(status[status.index("VmHWM:") + 1]) / 2**20
print(f"{opened:.2f} s; with the scaling fitted and 300 batches made, the process's memory "
      f"peaked at {peak:.2f} GiB")
"""


def opening(path: Path) -> None:
    for which in ("first", "second", "third"):
        command = [sys.executable, "-c", OPEN, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{which} start: opened in {done.stdout}", end="")


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        part, full = Path(folder) / "part.hdf5", Path(folder) / "full.hdf5"
        make(part, PART, rng)
        conversions(part)
        make(full, JETS, rng)
        opening(full)
        (store,) = Path(folder).glob("full*.safetensors")
        print(f"{JETS} jets: {full.stat().st_size / 1e9:.2f} GB of HDF5, 26.12 GB dense, ", end="")
        print(f"{store.stat().st_size / 1e9:.3f} GB as a store")
        batches(full)


if __name__ == "__main__":
    main()
