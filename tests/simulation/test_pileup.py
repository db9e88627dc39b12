"""The pool of minimum-bias collisions: made once, checked, drawn from fairly."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from qghelpers.data import cache
from qghelpers.simulation import pileup
from qghelpers.simulation.particles import Particles


@pytest.fixture(scope="module")
def pool():
    return pileup.load_pool()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of its own, and collisions that cost nothing."""
    made = []

    def few(count, seed):
        made.append(seed)
        ones = np.ones(3)
        return Particles(np.arange(3), ones, ones, ones, ones, 0 * ones, 22 * ones, 0 * ones)

    monkeypatch.setenv("QGHELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pileup.pythia, "minimum_bias", few)
    return tmp_path / "cache", made


def test_multiplicity_is_that_of_inelastic_collisions(pool):
    """CMS and TOTEM, arXiv:1405.0722: about 5.4 charged particles a unit of eta at 8 TeV."""
    particles = pool.particles
    central = (particles.charge != 0) & (np.abs(particles.eta) < 1)
    assert len(pool) == pileup.INTERACTIONS
    assert central.sum() / len(pool) / 2 == pytest.approx(5.4, rel=0.1)


def test_drawing_gives_each_event_its_collisions(pool):
    counts = np.array([3, 0, 20])
    drawn = pool.draw(counts, np.random.default_rng(0))
    assert set(drawn.event) == {0, 2}
    sizes = np.diff(pool.starts)
    pick = (np.random.default_rng(0).random((23, 4))[:, 0] * len(pool)).astype(int)
    assert (drawn.event == 0).sum() == sizes[pick[:3]].sum()
    assert (drawn.event == 2).sum() == sizes[pick[3:]].sum()
    first = slice(pool.starts[pick[0]], pool.starts[pick[0] + 1])
    np.testing.assert_array_equal(drawn.pt[: sizes[pick[0]]], pool.particles.pt[first])
    np.testing.assert_array_equal(
        np.abs(drawn.eta[: sizes[pick[0]]]), np.abs(pool.particles.eta[first])
    )
    turn = drawn.phi[: sizes[pick[0]]] - pool.particles.phi[first]
    assert np.ptp(turn) < 1e-5


def test_collisions_are_turned_and_mirrored_evenly(pool):
    drawn = pool.draw(np.array([2000]), np.random.default_rng(1))
    pick = (np.random.default_rng(1).random((2000, 4))[:, 0] * len(pool)).astype(int)
    sizes = np.diff(pool.starts)[pick]
    first = (np.cumsum(sizes) - sizes)[sizes > 0]  # the first particle of each collision
    before = pool.particles[pool.starts[pick[sizes > 0]]]
    mirrored = np.sign(drawn.eta[first]) != np.sign(before.eta)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)
    turn = (drawn.phi[first] - before.phi) % (2 * np.pi)
    quarters = np.histogram(turn, 4, (0, 2 * np.pi))[0] / len(first)
    np.testing.assert_allclose(quarters, 0.25, atol=0.04)
    assert abs(np.mean(mirrored[turn < np.pi]) - 0.5) < 0.05  # one does not follow the other


def test_more_pileup_adds_to_less(pool):
    few = pool.draw(np.array([5]), np.random.default_rng(2))
    many = pool.draw(np.array([9]), np.random.default_rng(2))
    np.testing.assert_array_equal(many.phi[: len(few)], few.phi)
    assert len(many) > len(few)


def test_no_pileup_is_no_particles(pool):
    assert len(pool.draw(np.zeros(4, int), np.random.default_rng(0))) == 0


def test_the_pool_is_made_once(own_cache, capsys):
    folder, made = own_cache
    first, again = pileup.load_pool(), pileup.load_pool()
    assert len(made) == pileup.INTERACTIONS // pileup.BLOCK
    assert len(set(made)) == len(made)
    assert len(list(folder.iterdir())) == 1
    np.testing.assert_array_equal(first.starts, again.starts)
    assert capsys.readouterr().err.count("once; it takes") == 1


def test_a_pool_that_another_process_makes_meanwhile_is_not_made_again(own_cache, monkeypatch):
    folder, made = own_cache
    expected = pileup.load_pool()
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.unlink()
    made.clear()

    @contextmanager
    def other(which):
        which.write_bytes(content)
        yield

    monkeypatch.setattr(pileup, "locked", other)
    np.testing.assert_array_equal(pileup.load_pool().particles.pt, expected.particles.pt)
    assert made == []


@pytest.mark.parametrize("change", [b"", b"x" * 1000, None])
def test_a_damaged_pool_is_made_again(own_cache, change):
    folder, made = own_cache
    before = pileup.load_pool()
    (path,) = folder.iterdir()
    contents = path.read_bytes()
    path.write_bytes(contents[:-1] + bytes([contents[-1] ^ 1]) if change is None else change)
    after = pileup.load_pool()
    assert len(made) == 2 * pileup.INTERACTIONS // pileup.BLOCK
    np.testing.assert_array_equal(before.particles.pt, after.particles.pt)
    assert path.read_bytes() == contents


@pytest.mark.parametrize("why", ["Not a directory", "there is no home folder"])
def test_a_cache_folder_that_cannot_be_written_costs_only_time(own_cache, monkeypatch, capfd, why):
    folder, made = own_cache
    monkeypatch.chdir(folder.parent)
    folder.write_text("a file where the folder should be")
    if "home" in why:
        monkeypatch.delenv("QGHELPERS_CACHE")
        monkeypatch.setattr(cache, "user_cache_path", lambda _: Path("~/.cache/qghelpers"))
        monkeypatch.setattr(cache.os.path, "expanduser", str)
    for _ in range(2):
        assert len(pileup.load_pool()) == pileup.INTERACTIONS
        said = capfd.readouterr().err.splitlines()[-1]
        assert why in said or "File exists" in said
        assert "set QGHELPERS_CACHE" in said
    assert len(made) == 2 * pileup.INTERACTIONS // pileup.BLOCK
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_collisions_are_spread_along_the_beam_each_as_a_whole(pool):
    counts = np.array([1500, 1500])
    drawn = pool.draw(counts, np.random.default_rng(2), 0.06)
    flat = pool.draw(counts, np.random.default_rng(2))
    np.testing.assert_array_equal(drawn.pt, flat.pt)
    assert not flat.z.any()
    pick = (np.random.default_rng(2).random((3000, 4))[:, 0] * len(pool)).astype(int)
    sizes = np.diff(pool.starts)[pick]
    places, found = np.unique(drawn.z, return_counts=True)
    np.testing.assert_array_equal(np.sort(found), np.sort(sizes[sizes > 0]))
    assert places.std() == pytest.approx(0.06, rel=0.05)
    assert places.mean() == pytest.approx(0, abs=4 * 0.06 / np.sqrt(3000))
