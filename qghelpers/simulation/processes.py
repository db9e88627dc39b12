"""Where jets come from: quarks and gluons, and what the public file lacks; Pythia's settings."""

from collections.abc import Iterator
from dataclasses import dataclass

from qghelpers.data.layout import GLUON, NEITHER, QUARK

TO_QUARKS = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")  # W bosons decay to quarks alone


@dataclass(frozen=True)
class Kind:
    """Hard collisions of one kind: their settings, and the PDG numbers that a jet must match."""

    label: int
    settings: tuple[str, ...]
    partons: tuple[int, ...]


@dataclass(frozen=True)
class Process:
    """Where jets come from: kinds in equal shares, in a window of parton pT in GeV.

    `pt_hat` is None where the partons come from the decay of one particle, whose mass decides.
    """

    kinds: tuple[Kind, ...]
    pt_hat: tuple[float, float] | None
    jet_radius: float = 0.5  # anti-kT, the standard of CMS at 8 TeV
    jet_pt_min: float = 70.0  # GeV


def _dark_mesons() -> Iterator[str]:
    """Dark mesons of 10 GeV; a share r_inv = 0.3 of them decays to particles nobody sees."""
    yield "51:m0 = 4"
    for meson in (4900111, 4900113, 4900211, 4900213):
        yield f"{meson}:m0 = 10"
        yield f"{meson}:oneChannel = 1 0.3 0 51 -51"
        yield f"{meson}:addChannel = 1 0.7 91 3 -3"


# qcd: light dijets as in the public file (arXiv:1902.08276); with pT hat from 90 to 170 GeV the
# jets have its range of pT. The others lie where the public file's tail ends, at about 337 GeV:
# there a W boson or a top quark is just boosted enough for one jet of larger radius.
# dark: semi-visible jets (Cohen, Lisanti, Lou, arXiv:1503.00009) from a light mediator, so that
# their pT is that of the qcd jets.
PROCESSES = {
    "qcd": Process(
        (
            Kind(GLUON, ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"), (21,)),
            Kind(
                QUARK,
                (
                    "HardQCD:gg2qqbar = on",
                    "HardQCD:qq2qq = on",
                    "HardQCD:qqbar2qqbarNew = on",
                    "HardQCD:nQuarkNew = 3",  # new pairs are u, d or s
                ),
                (1, 2, 3),
            ),
        ),
        (90, 170),
    ),
    "w": Process(
        (Kind(NEITHER, ("WeakDoubleBoson:ffbar2WW = on", *TO_QUARKS), (24,)),),
        (200, 320),
        jet_radius=0.8,
        jet_pt_min=180,
    ),
    "top": Process(
        (Kind(NEITHER, ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *TO_QUARKS), (6,)),),
        (250, 337),
        jet_radius=1.0,
        jet_pt_min=200,
    ),
    "dark": Process(
        (
            Kind(
                NEITHER,
                (
                    "HiddenValley:ffbar2Zv = on",
                    "4900023:m0 = 300",
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
            ),
        ),
        None,
    ),
}
