"""A threshold on a score: what passes, what is found, and the masses of both."""

import re
from base64 import b64decode

import numpy as np
import pytest

import qghelpers as qg


@pytest.fixture(scope="module")
def samples(jets):
    """Ordinary jets, anomalies, and their scores, some of which are equal."""
    ordinary, anomalies = jets[:60], jets[60:100]
    return ordinary, np.arange(60) // 2, anomalies, np.maximum(np.arange(40) - 6.0, 0)


@pytest.fixture
def explorer(samples):
    return qg.explore_threshold(*samples, rate=500)


def expected(samples, threshold):
    _, scores, _, their_scores = samples
    return (scores >= threshold), (their_scores >= threshold)


def test_shares_are_those_of_the_jets_with_this_score_or_more(explorer, samples):
    thresholds = [value for _, value in explorer.threshold.options]
    assert thresholds == sorted(set(thresholds))
    assert (thresholds[0], thresholds[-1]) == (0, 29)
    for threshold in thresholds:
        explorer.threshold.value = threshold
        alarms, found = expected(samples, threshold)
        said = explorer.told
        assert said.startswith(f"threshold {threshold:.4g} · ")
        told = re.findall(r"(\S+) ± \S+ %, (\S+) of 500 per second", said)
        numbers = [[float(number) for number in pair] for pair in told]
        for pair, kept in zip(numbers, (alarms, found), strict=True):
            assert pair == pytest.approx([100 * kept.mean(), 500 * kept.mean()], rel=0.006)
        assert said in explorer.panels.value
    explorer.rate.value = 2000
    assert " of 2000 per second" in explorer.told


def test_errors_of_shares_are_binomial(explorer, samples):
    for threshold in (0, 10, 25):
        explorer.threshold.value = threshold
        told = re.findall(r"(\S+) ± (\S+) %", explorer.told)
        for (_, error), kept in zip(told, expected(samples, threshold), strict=True):
            assert error == f"{100 * kept.std() / len(kept) ** 0.5:.1g}"
    assert len(told) == 2


def test_the_axis_of_the_spectrum_reaches_one_jet_of_the_larger_sample(samples):
    ordinary, scores, anomalies, their_scores = samples
    few = anomalies[:5], their_scores[:5]
    for parts in ((ordinary, scores, *few), (*few, ordinary, scores)):
        explorer = qg.explore_threshold(*parts)
        axis = re.findall(r'text-anchor="end">([^<]*)<', explorer.panels.value)
        assert axis == ["0.01", "0.1", "1"]  # one of 60 is below a tenth


def test_the_spectra_are_those_of_what_is_kept(explorer, samples):
    ordinary, _, anomalies, _ = samples
    explorer.threshold.value = 20
    alarms, found = expected(samples, 20)
    edges = explorer.edges
    for line, masses, count in (
        ("ordinary", ordinary.mass, 60),
        ("ordinary, kept", ordinary.mass[alarms], 60),
        ("anomalies", anomalies.mass, 40),
        ("anomalies, kept", anomalies.mass[found], 40),
    ):
        inside = np.minimum(masses, edges[-1])  # those beyond are in the last bin
        counts, _ = np.histogram(inside, edges)
        np.testing.assert_allclose(explorer.shares[line], counts / count)


def test_the_spectrum_is_drawn_on_an_axis_that_stays(explorer):
    def lines():
        return re.findall(r'<polyline points="([^"]*)"', explorer.panels.value)

    def axis():
        return re.findall(r"<text.*?</text>", explorer.panels.value)

    explorer.threshold.value = 0
    everything, before = lines(), axis()
    assert everything[0] == everything[1]  # all ordinary jets are kept
    assert everything[2] == everything[3]
    explorer.threshold.value = 29
    assert lines()[0] == everything[0]
    assert lines()[1] != everything[1]
    assert axis() == before
    heights = [float(y) for line in lines() for y in re.findall(r",(\S+)", line)]
    assert 24 <= min(heights) <= max(heights) <= 154  # between the names of the lines and the axis
    (kept,) = {share for share in explorer.shares["ordinary, kept"] if share}
    assert kept in (1 / 60, 2 / 60)
    level = 24 + 130 * np.log10(kept) / -2  # two decades below all of them
    assert f"{level:.1f}" in re.findall(r",(\S+)", lines()[1])


def test_the_spectrum_says_what_its_lines_and_its_axis_are(explorer):
    drawn = explorer.panels.value
    colours = dict(re.findall(r'<text x="\d+" y="12" fill="([^"]*)">([^<]*)<', drawn))
    assert list(colours.values()) == list(explorer.shares)
    assert re.findall(r'<polyline points="[^"]*" fill="none" stroke="([^"]*)"', drawn) == list(
        colours
    )
    assert "mass of the jets, as stored with them [GeV]; the last bin holds all above" in drawn


def test_the_jets_on_either_side_are_shown(explorer, samples):
    explorer.threshold.value = 20
    above, below = explorer.panels.rows
    ordinary, scores, anomalies, their_scores = samples
    assert (above.title[:10], below.title[:14]) == ("just kept:", "just not kept:")
    assert "score 20" in above.title
    assert "score 19" in below.title
    for row, score in ((above, 20), (below, 19)):
        jets, own = (ordinary, scores) if "ordinary" in row.title else (anomalies, their_scores)
        number = int(re.search(r"jet (\d+)", row.title)[1])
        assert own[number] == score
        np.testing.assert_allclose(row.energies, 100 * jets.images([number])[0].numpy())
    explorer.threshold.value = 0
    assert [row.title[:10] for row in explorer.panels.rows] == ["just kept:"]


def test_it_starts_at_about_one_percent_of_false_alarms(jets):
    scores = np.random.default_rng(0).permutation(400)
    explorer = qg.explore_threshold(jets, scores, jets, scores)
    assert explorer.threshold.value == 395
    assert "false alarms: 1.25 ± 0.6 %, 12.5 of 1000 per second" in explorer.told


def test_a_picture_with_words_is_stored(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data["text/plain"] == "explorer of a threshold"
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert explorer.told in metadata["image/png"]["alt"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({0: slice(0)}, "no jets to show"),
        ({1: slice(5)}, "ordinary: give one score, a number, for each of the 60 jets"),
        ({3: slice(39)}, "anomaly: give one score, a number, for each of the 40 jets"),
    ],
)
def test_what_cannot_be_cut_is_a_line(samples, change, line):
    parts = [part[change.get(i, slice(None))] for i, part in enumerate(samples)]
    data, _ = qg.explore_threshold(*parts)._repr_mimebundle_()
    assert line in data["text/plain"]


def test_scores_and_masses_have_to_be_numbers(samples):
    ordinary, scores, anomalies, their_scores = samples
    nothing = np.full(60, np.nan)
    assert "give one score" in str(qg.explore_threshold(ordinary, nothing, anomalies, their_scores))
    unknown = ordinary[np.arange(60)]
    unknown.mass = nothing
    said = str(qg.explore_threshold(unknown, scores, anomalies, their_scores))
    assert said == "ordinary: the masses of some jets are not known"
