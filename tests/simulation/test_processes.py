"""The settings of Pythia, as a table, and what they make of its collisions."""

import awkward as ak
import numpy as np
import pytest
from small import momentum

from qghelpers.data.layout import GLUON, NEITHER, QUARK
from qghelpers.simulation import pythia, selection
from qghelpers.simulation.processes import PROCESSES

# label, window of pT hat, jet radius and smallest jet pT, partons
SELECTION = {
    "qcd": [(GLUON, (90, 170), 0.5, 70, (21,)), (QUARK, (90, 170), 0.5, 70, (1, 2, 3))],
    "w": [(NEITHER, (200, 320), 0.8, 180, (24,))],
    "top": [(NEITHER, (350, 500), 1.0, 300, (6,))],
    "dark": [(NEITHER, None, 0.5, 70, (4900101,))],
}
HADRONIC = {"24:onMode = off", "24:onIfAny = 1 2 3 4 5"}
SETTINGS = {
    ("qcd", 0): {"HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"},
    ("qcd", 1): {
        "HardQCD:gg2qqbar = on",
        "HardQCD:qq2qq = on",
        "HardQCD:qqbar2qqbarNew = on",
        "HardQCD:nQuarkNew = 3",
    },
    ("w", 0): {"WeakDoubleBoson:ffbar2WW = on"} | HADRONIC,
    ("top", 0): {"Top:gg2ttbar = on", "Top:qqbar2ttbar = on"} | HADRONIC,
}


def kinds() -> list[tuple[str, int]]:
    return [(name, i) for name, process in PROCESSES.items() for i in range(len(process.kinds))]


def test_jets_are_selected_as_the_table_says():
    found = {
        name: [
            (k.label, process.pt_hat, process.jet_radius, process.jet_pt_min, k.partons)
            for k in process.kinds
        ]
        for name, process in PROCESSES.items()
    }
    assert found == SELECTION


@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_collisions_are_set_as_the_table_says(name, index):
    assert set(PROCESSES[name].kinds[index].settings) == SETTINGS[name, index]


def test_all_collisions_share_beams_and_decays():
    assert set(pythia.BEAMS) == {
        "Print:quiet = on",
        "Beams:eCM = 8000",
        "ParticleDecays:limitTau0 = on",
        "ParticleDecays:tau0Max = 10",
        "Random:setSeed = on",
    }
    assert pythia.MINIMUM_BIAS == ("SoftQCD:inelastic = on",)
    assert set(pythia.FAST_SHOWER_SETTINGS) == {
        "TimeShower:pTmin = 0.8",
        "TimeShower:QEDshowerByQ = off",
        "TimeShower:QEDshowerByL = off",
        "SpaceShower:QEDshowerByQ = off",
    }


def test_a_setting_that_pythia_does_not_know_is_an_error():
    with pytest.raises(RuntimeError, match="Pythia8 does not know HardQCD:gg2gluino = on"):
        pythia._pythia(["HardQCD:gg2gluino = on"], seed=1)


@pytest.fixture(scope="module")
def collisions():
    """Thirty collisions of each kind."""
    made = {}
    for name, index in kinds():
        process = PROCESSES[name]
        collide = pythia.hard_collisions(process.kinds[index], process.pt_hat, seed=1)
        made[name, index] = collide(30)
    return made


@pytest.mark.parametrize(("name", "index"), kinds())
def test_two_partons_of_the_kind_leave_each_collision_in_the_window(collisions, name, index):
    events, process = collisions[name, index], PROCESSES[name]
    kind = process.kinds[index]
    assert len(events) == 30
    hard = pythia.outgoing(events, kind.partons)
    # the other parton of a quark may be a charm quark from the proton
    assert set(ak.to_list(ak.num(hard))) <= ({1, 2} if (name, index) == ("qcd", 1) else {2})
    if process.pt_hat:
        pt = ak.to_numpy(ak.flatten(np.hypot(hard.p.px, hard.p.py)))
        low, high = process.pt_hat
        assert low - 1 < pt.min() < pt.max() < high + 1
        assert np.ptp(pt) > 0.5 * (high - low)


def test_gluons_and_light_quarks_are_what_the_labels_say(collisions):
    for index, ids in ((0, {21}), (1, {1, 2, 3, 4, 5})):
        events = collisions["qcd", index]
        hard = events[events.status == -23]
        assert set(np.abs(ak.to_numpy(ak.flatten(hard.id)))) <= ids
    both = pythia.outgoing(collisions["qcd", 1], (1, 2, 3))
    assert (ak.to_numpy(ak.flatten(both.id)) < 0).any()  # antiquarks count


@pytest.mark.parametrize("name", ["w", "top"])
def test_w_bosons_decay_to_quarks(collisions, name):
    events = collisions[name, 0]
    children = pythia.outgoing(events, (1, 2, 3, 4, 5))
    assert ak.min(ak.num(children)) >= 4
    assert not ak.any(ak.num(pythia.outgoing(events, (11, 12, 13, 14, 15, 16))))


def test_three_in_ten_dark_mesons_are_invisible(collisions):
    """Decay products 51 are invisible; 3 is the strange quark."""
    events = collisions["dark", 0]
    ids = np.abs(ak.to_numpy(ak.flatten(events.id)))
    mothers = ak.to_numpy(ak.flatten(events.mother1))
    counts = ak.to_numpy(ak.num(events))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    of_meson = np.isin(ids[starts + mothers], (4900111, 4900113, 4900211, 4900213))
    dark, seen = (of_meson & (ids == 51)).sum(), (of_meson & (ids == 3)).sum()
    n = (dark + seen) / 2
    assert n > 100
    assert dark / (dark + seen) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / n))


def event(parton: int, where, *others):
    """A parton of the hard process, and visible particles, each with (pt, eta, phi)."""
    hard = {"id": parton, "status": -23, "p": momentum(*where)}
    return [hard, *({"id": 211, "status": 83, "p": momentum(*o)} for o in others)]


@pytest.mark.parametrize(
    ("name", "parton", "radius"), [("qcd", 21, 0.5), ("w", 24, 0.8), ("top", 6, 1.0)]
)
@pytest.mark.parametrize("inside", [True, False])
def test_jets_have_the_radius_of_their_process(name, parton, radius, inside):
    distance = radius + (-0.05 if inside else 0.05)
    some = event(parton, (400, 0, 1), (350, 0, 1), (100, distance, 1))
    process = PROCESSES[name]
    _, jet = selection.matched(ak.Array([some]), process.kinds[0], process)
    assert jet["pt"][0] == pytest.approx(450 if inside else 350)


@pytest.mark.parametrize(
    ("name", "parton", "least"), [("qcd", 21, 70), ("w", 24, 180), ("top", 6, 300)]
)
def test_jets_have_at_least_the_momentum_of_their_process(name, parton, least):
    process = PROCESSES[name]
    for pt, found in ((least + 1, 1), (least - 1, 0)):
        some = event(parton, (pt, 0, 1), (pt, 0, 1))
        particles, jet = selection.matched(ak.Array([some]), process.kinds[0], process)
        assert len(jet["pt"]) == found
        assert len(particles) == found


@pytest.mark.parametrize(
    ("jet_phi", "parton_phi", "matches"),
    [
        (3.1, -3.1, True),
        (-3.1, 3.1, True),
        (3.0, -2.95, True),
        (3.0, -2.8, False),
        (0.1, 0.6, False),
    ],
)
def test_partons_are_matched_across_the_seam_in_phi(jet_phi, parton_phi, matches):
    some = event(21, (100, 0.1, parton_phi), (100, 0.1, jet_phi))
    qcd = PROCESSES["qcd"]
    _, jet = selection.matched(ak.Array([some]), qcd.kinds[0], qcd)
    assert len(jet["pt"]) == matches


@pytest.mark.parametrize(
    ("eta", "central"), [(1.3, True), (-1.3, True), (1.45, False), (-1.45, False)]
)
def test_jets_are_central_on_both_sides(eta, central):
    jet = selection.leading_jets(ak.Array([[momentum(100, eta, 0.5)]]))
    assert (jet["pt"][0] > 0) is np.bool_(central)
    if central:
        assert (jet["eta"][0], jet["phi"][0]) == (pytest.approx(eta), pytest.approx(0.5))


def test_pseudorapidity_and_azimuth():
    p = ak.Array([momentum(3, -1.7, 2.9) | {"e": 50.0}])  # not massless: it is no rapidity
    assert pythia.eta(p)[0] == pytest.approx(-1.7)
    assert pythia.phi(p)[0] == pytest.approx(2.9)


def test_flat_keeps_each_particle_and_its_event():
    p = [momentum(2, 0.3, -1), momentum(5, -1, 2), momentum(9, 0, 0)]
    events = ak.Array(
        [
            [{"id": -211, "p": p[0] | {"e": 7.0}}, {"id": 22, "p": p[1]}],
            [],
            [{"id": 2212, "p": p[2]}],
        ]
    )
    flat = pythia.flat(events)
    assert flat.event.tolist() == [0, 0, 2]
    np.testing.assert_allclose(flat.pt, [2, 5, 9])
    np.testing.assert_allclose(flat.eta, [0.3, -1, 0], atol=1e-12)
    np.testing.assert_allclose(flat.phi, [-1, 2, 0])
    np.testing.assert_allclose(flat.energy, [7, 5 * np.cosh(1), 9])
    assert flat.charge.tolist() == [-1, 0, 1]
    assert flat.pdg.tolist() == [-211, 22, 2212]
