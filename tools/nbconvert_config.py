"""nbconvert settings for HTML pages that open without a network.

``jupyter nbconvert --to html --config tools/nbconvert_config.py notebooks/*.ipynb``;
inside the project's environment the option is not needed: ``make .venv`` installs it.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

mathjax = find_spec("sphinx-mathjax-offline")
if mathjax is None:
    sys.exit(
        "MathJax is missing, without which formulas need a network: "
        "pip install sphinx-mathjax-offline"
    )


def title(nb):
    """Return the text of a notebook's first heading."""
    text = "\n".join(c.source for c in nb.cells if c.cell_type == "markdown")
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    return heading[1].replace("*", "") if heading else "Notebook"


def adapt(html):
    """Link to pages instead of notebooks, and let wide tables scroll by themselves."""
    html = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", html)
    html = re.sub(r'(href="(?!\w+:)[^"#]+)\.ipynb\b', r"\1.html", html)
    return re.sub(
        r"(?s)(<table.*?</table>)",
        r'<div class="scroll" role="group" aria-label="table" tabindex="0">\1</div>',
        html,
    )


c = get_config()  # noqa: F821 (nbconvert provides it)
c.HTMLExporter.template_name = "offline"
c.HTMLExporter.extra_template_basedirs = [
    str(Path(__file__).resolve().parent / "templates")
]
c.HTMLExporter.extra_template_paths = [
    str(Path(mathjax.origin).parent / "static" / "mathjax")
]
c.HTMLExporter.embed_images = True
c.HTMLExporter.filters = {"title": title, "adapt": adapt}
c.CoalesceStreamsPreprocessor.enabled = True
