"""A claim is a line of the lesson if it holds, and stops the lesson if it does not."""

import numpy as np
import pytest

from qghelpers import claim


@pytest.mark.parametrize("holds", [True, np.True_, np.array(1) > 0])
def test_a_claim_that_holds_is_printed(holds, capsys):
    claim("gluon jets are wider", holds)
    assert capsys.readouterr() == ("✓ gluon jets are wider\n", "")


def test_a_claim_that_does_not_hold_stops_the_notebook(capsys):
    with pytest.raises(AssertionError, match="this does not hold here: gluon jets are narrower"):
        claim("gluon jets are narrower", np.False_)
    assert capsys.readouterr().out == ""
