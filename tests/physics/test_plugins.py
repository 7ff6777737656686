"""The plug-in door: what it lists, what it loads, and how it fails."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from bayesinv.physics import plugins


def offer(monkeypatch, *values, group="bayesinv.operators"):
    entries = [EntryPoint(name, value, group) for name, value in values]
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry for entry in entries if entry.group == group])


def test_our_own_come_in_by_the_door():
    assert {"deblur", "photoacoustic-line", "seismic-poststack"} <= set(plugins.names())
    assert {"vessels", "layered-sections"} <= set(plugins.names("priors"))


def test_an_unknown_name_gets_the_near_one_and_the_list():
    with pytest.raises(ValueError, match=r"got 'photoacoustic-lime'; did you mean 'photoacoustic-line'\? .*deblur"):
        plugins.load("photoacoustic-lime")
    with pytest.raises(ValueError, match="kind 'operators' or 'priors', got 'flows'"):
        plugins.names("flows")


def test_one_that_fails_does_not_break_the_others(monkeypatch):
    offer(monkeypatch, ("broken", "no_such_module:f"), ("number", "math:pi"), ("square-root", "math:sqrt"))
    assert plugins.names() == ["broken", "number", "square-root"]
    assert plugins.load("square-root")(9) == 3
    with pytest.raises(ImportError, match=r"'broken' \(no_such_module:f.*does not load"):
        plugins.load("broken")
    with pytest.raises(ImportError, match="not callable"):
        plugins.load("number")
    lines = plugins.summaries()
    assert lines["square-root"].startswith("Return the square root")
    assert "cannot be used" in lines["broken"]


def test_two_of_one_name_are_reported(monkeypatch):
    offer(monkeypatch, ("twin", "math:sqrt"), ("twin", "math:exp"), ("same", "math:exp"), ("same", "math:exp"))
    with pytest.raises(ValueError, match=r"got 2: math:exp.*math:sqrt"):
        plugins.load("twin")
    assert plugins.load("same")(0) == 1
