"""The page "add a layer" works to the letter: its code blocks are run, and its layer is put under the laws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import reversible_laws as laws
import reversible_parts
import torch

import bayesinv.reversible

PAGE = Path(bayesinv.reversible.__file__).parent / "README.md"


@pytest.fixture
def page() -> dict[str, Any]:
    """What the page's blocks define: the layer, its registry lines, its faster backward pass."""
    names: dict[str, Any] = {"__name__": "page", "MAPS": {}, "Case": reversible_parts.Case}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.mark.parametrize("faster", [False, True])
def test_the_pages_layer_obeys_the_laws(page: dict[str, Any], faster: bool) -> None:
    if faster:
        page["Shear"]._backward = page["_backward"]
    assert len(page["MAPS"]) == 2
    for case in page["MAPS"].values():
        layer, x, cond = case.layer(), case.input(), case.condition()
        for law in (
            laws.inverse_undoes,
            laws.logdet_is_the_jacobians,
            laws.gradients_are_autograds,
            laws.backward_rebuilds_the_input,
            laws.taylor,
        ):
            law(layer, x, cond)
        laws.inverse_undoes(case.layer(torch.float32), case.input(torch.float32), None)
        for parameter in layer.parameters():
            parameter.requires_grad_(False)
        laws.gradients_are_autograds(layer, x, cond)


def test_the_page_names_what_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    folder = Path(__file__).parent
    assert set(re.findall(r"tests/reversible/(\w+\.py)", text)) == {"reversible_maps.py", "test_reversible_faults.py"}
    assert (folder / "test_reversible_faults.py").exists()
    named = set(re.findall(r"`(?:out, pull = )?([A-Za-z]\w+)(?:\([^`]*\))?`", text))
    theirs = {"evaluate", "graph", "finest", "BoundedSigmoid", "Hyperbolic", "Unsqueezed", "Reversible"}
    assert theirs <= named
    assert theirs <= set(bayesinv.reversible.__all__)
