"""The seeds of all simulated jets, by what they are for; two purposes never share jets."""

from enum import IntEnum, unique

__all__ = ["Seed"]


@unique
class Seed(IntEnum):
    """Files of different seeds have no jet in common. For files of your own, take others."""

    TESTS = 7
    SUPERVISED = 500  # `benchmark supervised`
    TRAINING = 606  # `benchmark training`
    CARDS = 777  # held-out jets, on which the cards of the shipped networks say how good they are
    HARD = 902  # tops, for whose momenta ...
    HARD_MATCHED = 912  # ... the ordinary jets are made that notebook 5 trains on
    BOX = 901  # the jets in the black box that are not ordinary
    BOX_MATCHED = 911  # those that are
    SHIPPED = 2026  # that the shipped networks were trained on
    HARD_TRAINING = 20261127  # tops, for whose momenta ...
    HARD_TRAINING_MATCHED = 20261128  # ... `benchmark hard_jets` makes ordinary jets
    BOXES = 57721  # known jets beside the black boxes of a class
    FIDELITY = 31337  # `benchmark fidelity`
    PACKAGED = 141421  # the small files that come with the package
    DETECTOR = 161803  # to which the detector's parameters were fitted
    MATCHED = 173205  # of these, qcd jets with the momenta of others
    SAMPLE = 271828  # the default sample of the notebooks
