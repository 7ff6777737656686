"""Maps with an operator inside, on a device that is not the processor: the same gradients."""

from __future__ import annotations

import reversible_laws as laws
from pretended_device import elsewhere
from reversible_parts import Case


def test_gradients_elsewhere_are_those_here(unrolled_case: Case) -> None:
    case = unrolled_case
    with elsewhere() as (there, back):
        for direction in laws.DIRECTIONS:
            here = case.layer(), case.input(), case.condition()
            expected = laws.gradients(*here, direction=direction, plain=False)
            moved = [there(one) for one in (case.layer(), case.input(), case.condition())]
            laws.assert_same_gradients(back(laws.gradients(*moved, direction=direction, plain=False)), expected)
