"""Priors and generators: pure functions of a seed, found through the entry-point group `bayesinv.priors`."""
