"""The processes that produce jets, as settings of Pythia: `qcd` as in the public file, and more."""

from collections.abc import Iterator
from dataclasses import dataclass

from qghelpers.data.layout import GLUON, NEITHER, QUARK

__all__ = ["PROCESSES", "Kind", "Process"]

W_TO_QUARKS = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")  # W bosons decay to quarks only


@dataclass(frozen=True)
class Kind:
    """Hard collisions for one label; a jet must match a parton with a PDG number in `partons`."""

    label: int
    settings: tuple[str, ...]
    partons: tuple[int, ...]


@dataclass(frozen=True)
class Process:
    """A source of jets: kinds of collisions in equal shares, and the selection of jets.

    `pt_hat` is the range of the partons' pT in GeV; None if the mass of a mother particle sets it.
    """

    kinds: tuple[Kind, ...]
    pt_hat: tuple[float, float] | None
    jet_radius: float = 0.5  # anti-kT, the standard of CMS at 8 TeV
    jet_pt_min: float = 70.0  # GeV


def _dark_mesons() -> Iterator[str]:
    """Settings of dark mesons of 10 GeV, of which a share r_inv = 0.3 decays invisibly."""
    yield "51:m0 = 4"
    for meson in (4900111, 4900113, 4900211, 4900213):
        yield f"{meson}:m0 = 10"
        yield f"{meson}:oneChannel = 1 0.3 0 51 -51"
        yield f"{meson}:addChannel = 1 0.7 91 3 -3"


GLUONS = Kind(GLUON, ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"), (21,))
QUARKS = Kind(
    QUARK,
    (
        "HardQCD:gg2qqbar = on",
        "HardQCD:qq2qq = on",
        "HardQCD:qqbar2qqbarNew = on",
        "HardQCD:nQuarkNew = 3",  # new pairs are u, d or s
    ),
    (1, 2, 3),
)
W_BOSONS = Kind(NEITHER, ("WeakDoubleBoson:ffbar2WW = on", *W_TO_QUARKS), (24,))
TOP_QUARKS = Kind(NEITHER, ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *W_TO_QUARKS), (6,))
DARK_QUARKS = Kind(  # semi-visible jets: Cohen, Lisanti, Lou, arXiv:1503.00009
    NEITHER,
    (
        "HiddenValley:ffbar2Zv = on",
        "4900023:m0 = 300",  # GeV; so light that the jets have the pT of the qcd jets
        "4900023:mWidth = 3",
        "4900023:onMode = off",
        "4900023:onIfAny = 4900101",
        "HiddenValley:Ngauge = 3",
        "HiddenValley:nFlav = 2",
        "HiddenValley:FSR = on",
        "HiddenValley:fragment = on",
        "HiddenValley:alphaOrder = 1",
        "HiddenValley:Lambda = 5",
        "HiddenValley:pTminFSR = 5.5",
        "HiddenValley:probVector = 0.5",
        "4900101:m0 = 5",
        *_dark_mesons(),
    ),
    (4900101,),
)
# qcd: light dijets as in the public file (arXiv:1902.08276); with pT hat from 90 to 170 GeV the
# jets have its range of pT. w, top: so hard that all three quarks of a top fit into one jet of
# radius 1.0 in six events of ten, and both of a W into one of 0.8 (`benchmark fidelity`).
PROCESSES = {
    "qcd": Process((GLUONS, QUARKS), (90, 170)),
    "w": Process((W_BOSONS,), (200, 320), jet_radius=0.8, jet_pt_min=180),
    "top": Process((TOP_QUARKS,), (350, 500), jet_radius=1.0, jet_pt_min=300),
    "dark": Process((DARK_QUARKS,), None),
}
