"""The same checks that ``bayesinv check motion-blur`` prints."""

from motion_blur import motion_blur

from bayesinv.physics import check


def test_it_obeys_the_laws_of_an_operator() -> None:
    """Nothing fails."""
    assert [result for result in check(motion_blur()) if not result.passed] == []
