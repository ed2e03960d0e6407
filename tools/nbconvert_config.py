"""nbconvert settings for HTML pages that open without a network.

``jupyter nbconvert --to html --config tools/nbconvert_config.py notebooks/*.ipynb``;
inside the project's environment the option is not needed: ``make .venv`` installs it.
"""

import re
import struct
import sys
from base64 import b64decode, b64encode
from importlib.util import find_spec
from pathlib import Path

from bs4 import BeautifulSoup
from jinja2 import pass_context

WITH_FORMULAS = ("text/html", "text/latex", "text/markdown")
EFFECTS = ("effect", "verdict")  # columns to see on a phone without scrolling
TALL = 800  # pixels: a figure of one row of panels has at most 720

mathjax = find_spec("sphinx-mathjax-offline")
if mathjax is None or mathjax.origin is None:
    sys.exit(
        "MathJax is missing, without which formulas need a network: "
        "pip install sphinx-mathjax-offline"
    )


def title(nb):
    """Return the text of a notebook's first heading."""
    text = "\n".join(c.source for c in nb.cells if c.cell_type == "markdown")
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    return heading[1].replace("*", "") if heading else "Notebook"


def formulas(nb):
    """Whether a page needs MathJax: whether a dollar stands outside of code."""
    texts = []
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            texts.append(cell.source)
        for output in cell.get("outputs", []):
            data, metadata = output.get("data", {}), output.get("metadata", {})
            texts += [text for kind, text in data.items() if kind in WITH_FORMULAS]
            texts += [one.get("caption") or "" for one in map(dict, images(metadata))]
    code = r"(?s)```.*?```|`[^`\n]*`|<(script|style|pre|code)\b.*?</\1>"
    return "$" in re.sub(code, "", "\n".join(texts))


def images(metadata):
    """Return what an output's metadata say of its images."""
    return [about for kind, about in metadata.items() if kind.startswith("image/")]


def shape(png):
    """Return the attributes of the figure of a PNG, in base64.

    A phone needs its width in pixels, so that its text stays legible; on paper it may
    be higher than others if it is *tall*: with several rows of panels or of claims.
    """
    width, height = struct.unpack(">II", b64decode(png[:44])[16:24])
    return f'style="--pixels: {width}"' + ' class="tall"' * (height > TALL)


def steps(nb):
    """Return the links to the notebooks before and after, which its last text has.

    Each is a name, a number and an address.
    """
    texts = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    link = r"\[(Previous|Next): ([^\]]+)\]\((\d+)(\w*)\.ipynb\)"
    found = re.findall(link, texts[-1] if texts else "")
    return {
        way.lower(): (name, number, f"{number}{rest}.html")
        for way, name, number, rest in found
    }


def joined(html):
    """Let no line begin after a formula with what belongs to the formula."""
    others = r"(?s)(<(pre|code|script|style)\b.*?</\2>|<[^>]*>|\$\$.*?\$\$)"
    parts = re.split(others, html)
    del parts[2::3]  # the names of the tags
    for index in range(0, len(parts), 2):  # the others are what splits
        parts[index] = re.sub(
            r"(?:[^\s$]*\$[^$]+\$)+[^\s$]*",
            lambda found: (
                found[0]
                if re.fullmatch(r"\$[^$]+\$", found[0])
                else f'<span class="joined">{found[0]}</span>'
            ),
            parts[index],
        )
    return "".join(parts)


def framed(html):
    """Set an image that is a paragraph, and the italic line below it, as a figure."""

    def frame(found):
        png = re.search(r'src="data:image/png;base64,([^"]+)', found[1])
        caption = f"<figcaption><p>{found[2]}</p></figcaption>" if found[2] else ""
        return (
            f"<figure {shape(png[1]) if png else ''}>"
            f'<div class="pan">{found[1]}</div>{caption}</figure>'
        )

    image = r"(?s)<p>(<img [^>]*>)\s*"
    below = r"(?:(?:</p>\s*<p>)?\s*<em>((?:(?!</em>).)*)</em>\s*)?</p>"
    return re.sub(image + below, frame, html)


def table(html):
    """Let a table scroll by itself, under its caption; name cells beside effects.

    On a phone a row with an effect is stacked: the effect is seen beside its claim.
    A caption keeps the width of the page, however wide or narrow its table is.
    """
    (soup,) = BeautifulSoup(html, "html.parser").select("table:not(table table)")
    head = soup.thead
    rows = [row.find_all(["th", "td"]) for row in head.find_all("tr")] if head else []
    texts = [[cell.get_text(strip=True) for cell in row] for row in rows]
    if any(text.startswith(EFFECTS) for row in texts for text in row):
        names = ["".join(column) for column in zip(*texts, strict=False)]
        classes = [*soup.get_attribute_list("class"), "effects"]
        soup["class"] = " ".join(filter(None, classes))
        for row in soup.select("tbody tr"):
            cells = row.find_all(["th", "td"], recursive=False)
            for cell, name in zip(cells, names, strict=False):
                cell["data-name"] = name.removesuffix("?")  # a colon follows
    told = soup.caption.extract().decode_contents() if soup.caption else ""
    scroll = f'<div class="scroll" role="group" aria-label="table" tabindex="0">{soup}'
    if not told:
        return f"{scroll}</div>"
    return (
        f'<figure class="data"><figcaption>{told}</figcaption>{scroll}</div></figure>'
    )


def embedded(html, folder):
    """Put images of ``plots/`` into a page; nbconvert leaves the notebook's folder not.

    Parameters
    ----------
    folder : the notebook's.
    """

    def embed(found):
        path = Path(folder) / found[2]
        if not path.is_file():
            return found[0]
        return (
            f"{found[1]}data:image/png;base64,{b64encode(path.read_bytes()).decode()}"
        )

    return re.sub(r'(<img [^>]*src=")(\.\./plots/[\w/-]+\.png)', embed, html)


@pass_context
def adapt(context, html):
    """Return the HTML of a cell as it stands in a page.

    Links lead to pages instead of notebooks, wide tables scroll by themselves, images
    are figures, and formulas keep what is joined to them.
    """
    html = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", html)
    html = re.sub(r'(href="(?!\w+:)[^"#]+)\.ipynb\b', r"\1.html", html)
    folder = context.get("resources", {}).get("metadata", {}).get("path", "")
    html = framed(embedded(joined(html), folder))
    return re.sub(r"(?s)<table.*?</table>", lambda found: table(found[0]), html)


c = get_config()  # type: ignore[name-defined]  # noqa: F821 (nbconvert provides it)
c.HTMLExporter.template_name = "offline"
c.SlidesExporter.template_name = "reveal"  # slides are HTML too, of their own kind
c.HTMLExporter.extra_template_basedirs = [
    str(Path(__file__).resolve().parent / "templates")
]
c.HTMLExporter.extra_template_paths = [
    str(Path(mathjax.origin).parent / "static" / "mathjax")
]
c.HTMLExporter.embed_images = True
c.HTMLExporter.filters = {
    "title": title,
    "adapt": adapt,
    "formulas": formulas,
    "steps": steps,
    "shape": shape,
}
c.CoalesceStreamsPreprocessor.enabled = True
