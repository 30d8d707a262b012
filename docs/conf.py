"""Sphinx configuration: MyST pages, the furo theme, warnings are errors (see ``make docs``)."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import umbel.context
import umbel.errors
import umbel.result

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
# Imported there for type checkers only, but autodoc evaluates the fields of the class that mentions them.
vars(umbel.context).update(AsyncResult=umbel.result.AsyncResult, Retry=umbel.errors.Retry)

project = "Umbel"
author = "The Umbel authors"
release = version = installed_version("umbel")

extensions = ["myst_parser", "sphinx.ext.autodoc", "umbel_reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

default_role = "code"  # `name` in a docstring is a name

html_theme = "furo"
html_title = "Umbel"
