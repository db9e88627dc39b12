"""The training engine beside the pipeline that one writes first, and how soon each gets where.

Both train the same network on the same jets in batches of 128, each in a process of its own, taking
turns; all ratios are medians over the turns. The jets are simulated once, into `data/`.

The naive pipeline: all images dense in memory in float32, `TensorDataset` and `DataLoader`,
float32, PyTorch's default memory layout, plain Adam. Its memory is measured twice: with the images
as they are read, and with the second copy that `.contiguous()`, which is often written, makes.

The race: ours trains the `fast` recipe; its loss is measured in the space of the `reference`
recipe. What that one ends with is read from `results/`, made once with our engine in float32
(the command is in `results/README.md`); its time is its epochs at the speed of the naive
pipeline, measured here, without validation.
"""

import csv
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import h5py
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import qghelpers as qg
from qghelpers.analysis import baselines
from qghelpers.analysis.latent import code_size
from qghelpers.seeds import Seed
from qghelpers.simulation.simulate import simulate
from qghelpers.training.engine import kept_memory, start
from qghelpers.training.loop import Callbacks, Training

SIMULATED = 25_000
JETS = 20_000  # in memory
BATCH = 128
BATCHES = {"unet": 6, "vae": 12}  # in a turn of the naive pipeline: half a minute
OURS_LONGER = 3  # times as many in a turn of ours, which then takes about as long
TURNS = 9
LIMIT = 6250  # jets of which four in five are trained on, in the race for quality
RESULTS = Path(__file__).parent / "results"


def jets_file() -> Path:
    path = qg.home() / "data" / "benchmark_jets.hdf5"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        simulate(path, SIMULATED, Seed.TRAINING)
    return path


# --- the two pipelines, each in a process that is told how many batches to train


def naive(network: str, recipe: str, path: Path, copied: bool = False):
    with h5py.File(path) as file:
        images = torch.from_numpy(file["X_jets"][:JETS]).permute(0, 3, 1, 2)
    if copied:
        images = images.contiguous()
    torch.manual_seed(0)
    model = qg.build(network, recipe)
    model.scaling.fit(qg.load_jets(path, limit=1000))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loader = DataLoader(TensorDataset(images), batch_size=BATCH, shuffle=True)

    def turn(batches: int) -> float:
        started = time.perf_counter()
        for done, (batch,) in enumerate(loader, start=1):
            loss = model.loss(batch)["loss"].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            if done == batches:
                break
        return batches * BATCH / (time.perf_counter() - started)

    return turn, {"precision": "32-true", "compile": False}


def ours(network: str, recipe: str, path: Path):
    """As in the midst of a long run: what is fastest has been found out."""
    jets = qg.load_jets(path, limit=JETS)
    train = jets[: OURS_LONGER * BATCHES[network] * BATCH]
    torch.manual_seed(0)
    model = qg.build(network, recipe)
    model.scaling.fit(train)
    model.prepare(jets)
    plain = qg.get_recipe(network, "reference", epochs=1000)
    fabric, engine = start(qg.Engine(), model, train.images(range(BATCH)), 10**9)
    training = Training(fabric, engine, model, plain, train, jets[-BATCH:], seed=0)

    def turn(_: int) -> float:
        return training.epoch(Callbacks())["images_per_second"]

    return turn, engine.measured_choices()


def worker(kind: str, network: str, recipe: str, path: str) -> None:
    with kept_memory(kind == "ours"):
        kinds = {"naive": naive, "copied": partial(naive, copied=True), "ours": ours}
        turn, chosen = kinds[kind](network, recipe, Path(path))
        for line in sys.stdin:
            print(json.dumps(turn(int(line))), flush=True)
    status = Path("/proc/self/status").read_text().split()  # Linux; counts this process alone
    peak = int(status[status.index("VmHWM:") + 1]) / 2**20
    how = chosen["precision"] + ", compiled" * chosen["compile"]
    print(json.dumps({"peak": peak, "how": how, "machine": machine_peak(chosen["precision"])}))


def machine_peak(precision: str) -> float:
    """The most operations a second of a large product of matrices and of a large convolution."""
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(2048, 2048, dtype=dtype, device=device)
    x = torch.randn(32, 256, 32, 32, dtype=dtype, device=device)
    x = x.to(memory_format=torch.channels_last)
    w = torch.randn(256, 256, 3, 3, dtype=dtype, device=device)
    w = w.to(memory_format=torch.channels_last)
    best = 0.0
    for run in (lambda: a @ a, lambda: F.conv2d(x, w, padding=1)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()[0, 0].sum().item()
        for _ in range(10):
            started = time.perf_counter()
            run()[0, 0].sum().item()
            best = max(best, counter.get_total_flops() / (time.perf_counter() - started))
    return best


def operations(network: str) -> float:
    """Of one image, forward and backward; the same for both recipes."""
    model = qg.build(network)
    with FlopCounterMode(display=False) as counter:
        model.loss(torch.rand(2, 3, 125, 125))["loss"].mean().backward()
    return counter.get_total_flops() / 2


class Pipeline:
    """A worker in its own process; it exists when it is ready, so none disturbs another."""

    def __init__(self, kind: str, network: str, recipe: str, path: Path) -> None:
        command = [sys.executable, __file__, kind, network, recipe, str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.turn(2)  # not counted; ours first finds out what is fastest

    def turn(self, batches: int) -> float:
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> dict[str, float]:
        """Peak memory in GiB, how it was computed, the machine's peak in operations a second."""
        self.process.stdin.close()
        summary = json.loads(self.process.stdout.readline())
        self.process.wait()
        return summary


def throughput(network: str, path: Path) -> float:
    """Measure both; the images a second of the naive one with the reference recipe's network."""
    pipelines = {kind: Pipeline(kind, network, "fast", path) for kind in ("naive", "ours")}
    reference = Pipeline("naive", network, "reference", path)
    turns = [
        {kind: pipeline.turn(BATCHES[network]) for kind, pipeline in pipelines.items()}
        for _ in range(TURNS)
    ]
    speed_of_reference = median(reference.turn(BATCHES[network]) for _ in range(3))
    reference.end()
    copied = Pipeline("copied", network, "fast", path).end()["peak"]
    ratios = sorted(turn["ours"] / turn["naive"] for turn in turns)
    ends = {kind: pipeline.end() for kind, pipeline in pipelines.items()}
    flops = operations(network)
    print(f"{network}: training in batches of {BATCH}, {JETS} jets at hand")
    for kind, end in ends.items():
        speed = median(turn[kind] for turn in turns)
        share = speed * flops / end["machine"]
        print(
            f"  {kind:<6}{speed:>6.1f} images/s, {end['peak']:.2f} GiB, {end['how']}, "
            f"{speed * flops / 1e9:.0f} GFLOP/s: {share:.0%} of the machine's "
            f"{end['machine'] / 1e9:.0f}"
        )
    peak = ends["ours"]["peak"]
    print(
        f"  ours is {median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f}), in "
        f"{peak / ends['naive']['peak']:.2f} of the memory, or {peak / copied:.2f} of the "
        f"{copied:.2f} GiB with a contiguous copy of the images; the dense images alone are "
        f"{JETS * 4 * 3 * 125**2 / 2**30:.2f} GiB"
    )
    return speed_of_reference


# --- how soon the fast recipe reaches the loss that the reference recipe ends with


@torch.no_grad()
def in_reference_space(model, network: str, zscore: qg.ZScore, jets: qg.JetImages) -> float:
    """The reference recipe's validation loss, of another recipe's network."""
    model.eval()
    reference = qg.build(network, "reference")
    total = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for images in jets.batches(BATCH):
            found, *parts = as_tuple(model(model.scaling(images)))
            found = zscore(model.scaling.inverse(found))
            if parts:
                loss = qg.vae_loss(zscore(images), found, *parts)["loss"]
            else:
                loss = reference.error(zscore(images), found)
            total += loss.sum().item()
    return total / len(jets)


def as_tuple(found) -> tuple:
    return found if isinstance(found, tuple) else (found,)


@torch.no_grad()
def without_a_network(baseline, network: str, jets: qg.JetImages) -> float:
    """This network's loss of what a formula makes of the jets; there is no divergence in it."""
    error, total = qg.build(network, "reference").error, 0.0
    for images in jets.batches(BATCH):
        total += error(baseline.scaling(images), baseline.reconstruct(images)).sum().item()
    return total / len(jets)


def race(network: str, path: Path, naive_speed: float) -> None:
    with (RESULTS / f"reference_{network}.csv").open(newline="") as file:
        goal = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    train, validation, _ = qg.load_jets(path, limit=LIMIT).split()
    zscore = qg.ZScore().fit(train)
    torch.manual_seed(0)
    model = qg.build(network, "fast")
    seconds, aside, losses = [], 0.0, []
    started = time.perf_counter()

    def look(history) -> None:
        nonlocal aside
        seconds.append(time.perf_counter() - started - aside)
        losses.append(in_reference_space(model, network, zscore, validation))
        aside = time.perf_counter() - started - seconds[-1]

    qg.fit(model, train, validation, watch=[look])
    naive_seconds = len(goal) * len(train) / naive_speed
    print(f"{network}: {len(train)} jets to train on, loss in the reference recipe's space")
    print(
        f"  reference, naive: {goal[-1]:.6g} after {len(goal)} epochs (lowest {min(goal):.6g}), "
        f"{naive_seconds:.0f} s"
    )
    rivals = baselines.all_baselines(zscore, train, code_size(model))
    for name, baseline in rivals.items():
        print(f"  {name}: {without_a_network(baseline, network, validation):.6g}")
    for second, loss in zip(seconds, losses, strict=True):
        if loss <= goal[-1]:
            reached = f"{naive_seconds / second:.1f} times sooner"
        else:
            passed = next(epoch for epoch, value in enumerate(goal, start=1) if value <= loss)
            reached = f"which the reference passes in epoch {passed}"
        print(f"  fast, ours:       {loss:.6g} after {second:.0f} s, {reached}")


def main() -> None:
    path = jets_file()
    for network in ("unet", "vae"):
        speed = throughput(network, path)
        race(network, path, speed)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        worker(*sys.argv[1:])
    else:
        main()
