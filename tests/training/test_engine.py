"""How it is computed does not change what is learnt: switches, precision, processes."""

import platform
from dataclasses import replace

import psutil
import pytest
import torch
from small import small_vae

import qghelpers as qg
from qghelpers.training import engine as engines
from qghelpers.training.recipes import get_recipe

NETWORKS = ("vae", "unet")
PLAIN = qg.Engine(
    precision="32-true", channels_last=False, fused=False, compile=False, keep_memory=False
)
# relative, of the validation loss after an epoch; README and Engine promise these
WITHIN = {"32-true": 1e-3, "bf16-mixed": 2e-2}


@pytest.fixture(scope="module")
def parts(jets):
    return jets[:120].split((0.8, 0.2))


def trained(parts, network: str, engine: qg.Engine) -> float:
    torch.manual_seed(0)
    recipe = replace(get_recipe(network, "fast", 1), batch_size=24, lr=1e-3)
    history = qg.fit(qg.build(network), *parts, recipe, engine=engine)
    return history[-1]["validation_loss"]


@pytest.fixture(scope="module")
def plain(parts):
    return {network: trained(parts, network, PLAIN) for network in NETWORKS}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "switch",
    [
        {"channels_last": True},
        {"fused": True},
        {"keep_memory": True},
        {"channels_last": True, "fused": True, "keep_memory": True, "precision": "bf16-mixed"},
    ],
    ids=lambda switch: "-".join(switch),
)
def test_a_switch_changes_no_more_than_rounding(parts, plain, network, switch):
    engine = replace(PLAIN, **switch)
    loss = trained(parts, network, engine)
    assert loss == pytest.approx(plain[network], rel=WITHIN[engine.precision])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch, of its own
def test_compiling_changes_no_more_than_rounding(parts, plain):
    small = replace(PLAIN, compile=True)
    assert trained(parts, "vae", small) == pytest.approx(plain["vae"], rel=WITHIN["32-true"])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another memory allocator")
def test_memory_is_kept_for_as_long_as_asked():
    resource = pytest.importorskip("resource")

    def pages_fetched() -> int:
        """By memory of 64 MiB that is asked for, filled and given back, ten times."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(16 << 20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    pages = 10 * (64 << 20) // resource.getpagesize()
    with engines.kept_memory(True):
        pages_fetched()
        assert pages_fetched() < pages / 20
        kept = psutil.Process().memory_info().rss
    # counted in bytes: one fetched page may be a huge one, of 2 MiB
    assert kept - psutil.Process().memory_info().rss > 0.9 * (64 << 20)


def has(monkeypatch, **instructions: bool) -> None:
    """Let the processor be one that has these instructions."""
    known = {"architecture": "x86_64", "avx2": True} | instructions
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)


@pytest.fixture
def bf16(monkeypatch) -> None:
    has(monkeypatch, avx512_bf16=True)


def test_bf16_is_not_tried_where_the_processor_has_no_instructions_for_it(monkeypatch, parts):
    faster = {"32-true": 1.0, "bf16-mixed": 0.5}
    monkeypatch.setattr(engines, "_seconds", lambda steps, images, repeats=3: faster)
    model, images = small_vae(), parts[0].images(slice(1))

    def found() -> str:
        return engines.start(qg.Engine(compile=False), model, images, 1)[1].precision

    for instructions, expected in (
        ({"amx_bf16": False, "avx512_bf16": False}, "32-true"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16-mixed"),
        ({"architecture": "arm64"}, "bf16-mixed"),  # which names others: only timing can tell
    ):
        has(monkeypatch, **instructions)
        assert found() == expected


def test_the_probe_takes_what_is_clearly_faster(monkeypatch, bf16, parts):
    seconds = {"32-true": 1.0, "bf16-mixed": 0.5}
    monkeypatch.setattr(engines, "_seconds", lambda steps, images, repeats=3: seconds)
    model, images = small_vae(), parts[0].images(slice(32))

    def found(**fields):
        return engines.start(qg.Engine(compile=False, **fields), model, images, 1)[1].precision

    assert found() == "bf16-mixed"
    assert found(precision="32-true") == "32-true"
    seconds["bf16-mixed"] = 0.9  # not enough: next time it might be 1.1
    assert found() == "32-true"


def test_the_probe_gives_up_at_once_where_bf16_crawls(monkeypatch, bf16, parts):
    asked = []

    def seconds(steps, images, repeats=3):
        asked.append(len(images))
        return {"32-true": 1.0, "bf16-mixed": 100.0}

    monkeypatch.setattr(engines, "_seconds", seconds)
    model, images = small_vae(), parts[0].images(slice(32))
    _, settled = engines.start(qg.Engine(compile=False), model, images, 1)
    assert settled.precision == "32-true"
    assert asked == [1]


def test_the_probe_leaves_network_and_chance_alone(bf16, parts):
    torch.manual_seed(0)
    model, images = small_vae(), parts[0].images(slice(32))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    engines.start(qg.Engine(), model, images, 10**9)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("device", "eager", "compiled", "images", "expected"),
    [
        ("cuda", 1.0, 0.8, 10**6, True),
        ("cuda", 1.0, 0.9, 10**6, False),
        ("cuda", 1.0, 0.5, 100, False),  # over before it has paid
        ("cpu", 1.0, 0.5, 10**6, False),  # not even tried
    ],
)
def test_it_compiles_where_that_clearly_pays(
    monkeypatch, parts, device, eager, compiled, images, expected
):
    seconds = {"eager": eager, "compiled": compiled}
    monkeypatch.setattr(engines, "_step", lambda engine, model, device: None)
    monkeypatch.setattr(engines, "_seconds", lambda steps, images, repeats=3: seconds)
    probed = parts[0].images(slice(32))
    where = torch.device(device)
    assert engines._compiling_pays(qg.Engine(), qg.VAE(), probed, where, images) is expected


def test_a_compiler_that_fails_is_done_without(monkeypatch, parts):
    def seconds(steps, images, repeats=3):
        if "compiled" in steps:
            raise RuntimeError("no compiler")
        return {"eager": 1.0}

    monkeypatch.setattr(engines, "_step", lambda engine, model, device: None)
    monkeypatch.setattr(engines, "_seconds", seconds)
    probed = parts[0].images(slice(32))
    assert not engines._compiling_pays(qg.Engine(), qg.VAE(), probed, torch.device("cuda"), 10**9)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (qg.Engine(devices=0), "devices is 0"),
        (qg.Engine(accelerator="abacus"), "abacus"),
        (qg.Engine(precision="7"), "precision"),
    ],
)
def test_what_is_not_there_is_one_clear_line(parts, engine, message):
    with pytest.raises(ValueError, match=message) as error:
        qg.fit(small_vae(), *parts, engine=engine)
    assert "\n" not in str(error.value)


def test_noise_is_drawn_for_the_whole_batch_and_shared_out():
    model, drawn = qg.VAE(), []
    for shard in ((0, 1), (0, 2), (1, 2)):
        torch.manual_seed(0)
        drawn += engines.draw_noise(model, 5, shard)
    whole, first, second = drawn
    assert torch.equal(whole[::2], first)
    assert torch.equal(whole[1::2], second)


def test_an_optimizer_that_cannot_be_fused_is_used_as_it_is(parts):
    recipe = replace(get_recipe("vae", "fast", 1), batch_size=24, lr=1e-4, optimizer="RAdam")
    history = qg.fit(small_vae(), *parts, recipe, engine=PLAIN)
    fused = qg.fit(small_vae(), *parts, recipe, engine=replace(PLAIN, fused=True))
    assert history[0]["validation_loss"] == fused[0]["validation_loss"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("bf16-mixed", True)),
        ({"precision": "32-true"}, ("32-true", True)),
        ({"compile": False}, ("bf16-mixed", False)),
        ({"precision": "32-true", "compile": False}, ("32-true", False)),
    ],
)
def test_a_resumed_run_takes_its_earlier_choices_but_for_what_is_asked_for(asked, expected):
    engine = qg.Engine(**asked).with_recorded_choices({"precision": "bf16-mixed", "compile": True})
    assert (engine.precision, engine.compile) == expected
