"""How Sphinx builds the site: `make docs`. Examples and tutorials run in their small mode."""

import os
import sys
from pathlib import Path

os.environ.setdefault("BAYESINV_SMOKE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).parent))  # for gallery_figures

import bayesinv

project = "bayesinv"
author = "the bayesinv authors"
copyright = f"2026, {author}"
version = release = bayesinv.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"bayesinv {version}"
html_show_sourcelink = False

autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": ["../examples", "../tutorials"],
    "gallery_dirs": ["gallery/examples", "gallery/tutorials"],
    "filename_pattern": r"\.py$",
    "image_scrapers": ("matplotlib", "gallery_figures.last_figure"),
    "ignore_repr_types": r"matplotlib\.(figure|text)",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
}
