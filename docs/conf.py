"""How Sphinx builds the documentation: ``make docs``, strict about warnings and about links that lead nowhere.

The toolchain is the one that JAX, Flax and optax use: MyST Markdown, notebooks as pages, sphinx-book-theme. The build
fetches nothing, so it is the same with and without a network.

The source directory is the root of the repository. That way notebooks, ARCHITECTURE.md and the recorded benchmarks keep
their one home, and a relative link works on the site and in a plain view of the repository alike.
"""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "lstm-parity"
author = "the lstm-parity authors"
project_copyright = f"2026, {author}"
version = release = version_of("lstm-parity")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "as_written",
    "mathml",
]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
exclude_patterns = [".*", "build", "dist", "**/__pycache__"]

nitpicky = True  # a reference that leads nowhere is an error
nitpick_ignore_regex = [
    # Names of other projects: looking them up would need a network.
    (r"py:.*", r"(collections|flax|jax|jaxtyping|lightning|nn|nnx|np|numpy|optax|os|pathlib|rich|torch|typing|L)\..*"),
    (r"py:.*", r"Array|ArrayLike|DTypeLike|Float|Group|PrecisionLike|PyTree|Tensor|Any|Callable|Mapping|Path|Sequence"),
    (r"py:.*", r"None \| str \| .*Precision.*"),
    # Names of ours that no reader of the reference needs.
    (r"py:.*", r"lstm_parity\.compare\.places\.T|lstm_parity\.diagnosis\.simulation\.SimulatedPort"),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
nb_execution_mode = "off"  # notebooks are committed as executed, and the test suite runs them

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
add_module_names = False
napoleon_use_ivar = True
napoleon_use_rtype = False

copybutton_prompt_text = "$ "
copybutton_here_doc_delimiter = "END"

html_theme = "sphinx_book_theme"
html_title = "lstm-parity"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]  # index.html, which leads to docs/index.html
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
