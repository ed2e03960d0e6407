"""Figures and tables as a notebook shows and saves them: alt text, caption, style."""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from PIL import Image

from helpers import files
from helpers.claims import VERDICT_COLOURS, bar
from helpers.plotting import RESOLUTION


def show(figure: Figure, path: Path, alt: str, caption: str) -> None:
    """Save a figure as PNG and display it with alternative text and a caption.

    Parameters
    ----------
    figure : closed afterwards.
    path : where to save it, ending in ``.png``; an old file survives a failure.
    alt : describes what is drawn, for who cannot see it; also its plain text.
    caption : says what to see in it, in Markdown; nothing that another run may change.
    """
    with io.BytesIO() as drawn, io.BytesIO() as packed:
        figure.savefig(drawn, format="png")
        # 256 colours look the same and keep the notebooks small. The default method
        # merges rare colours, such as those of a colour bar.
        few = Image.Quantize.MAXCOVERAGE
        image = Image.open(drawn).convert("RGB").quantize(256, few, kmeans=1)
        image.save(packed, "png", optimize=True)
        png = packed.getvalue()
    width = round(figure.get_figwidth() * mpl.rcParams["figure.dpi"])
    plt.close(figure)
    files.write(path, png)
    _display(png, alt, caption, width)


def show_again(path: Path, alt: str, caption: str) -> None:
    """Display a figure that a notebook has saved, as :func:`show` does.

    Parameters
    ----------
    path : a PNG that :func:`show` saved.
    alt, caption : as in :func:`show`.

    Raises
    ------
    FileNotFoundError
        If there is no such figure.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no figure {path.name} in {path.parent.name}/: run the notebook "
            "of that name, or `make refresh`"
        )
    with Image.open(path) as image:
        width = round(image.width * mpl.rcParams["figure.dpi"] / RESOLUTION)
    _display(path.read_bytes(), alt, caption, width)


def _display(png: bytes, alt: str, caption: str, width: int) -> None:
    display(
        {"image/png": base64.b64encode(png).decode(), "text/plain": f"Figure: {alt}"},
        metadata={"image/png": {"alt": alt, "width": width, "caption": caption}},
        raw=True,
    )
    # Pages put it under the image themselves; Jupyter and GitHub show what they know.
    display(
        {"text/markdown": f"*{caption}*", "text/plain": caption},
        metadata={"is_caption": True},
        raw=True,
    )


def show_table(
    frame: pd.DataFrame,
    path: Path,
    caption: str,
    formats: Mapping[str, str] | None = None,
    links: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Save a table as CSV, unrounded, and display it with a caption.

    Parameters
    ----------
    frame : its index becomes row headers.
    path : where to save it, ending in ``.csv``.
    caption : one sentence that says what the table holds.
    formats : format string of each column that needs one, as for ``str.format``.
    links : addresses that the cells of a column, or of the index by its name, link to,
        in the order of the rows.
    """
    files.write(path, frame.to_csv().encode())
    text = frame.copy().astype(object)
    for column, style in (formats or {}).items():
        text[column] = [style.format(value) for value in frame[column]]
    plain = text.to_string()
    style = _aligned(_linked(frame, text, links or {}), frame)
    style = (
        style.format_index(escape="html", axis=1)
        .set_caption(html.escape(caption))
        .set_table_attributes('class="bn-table"')
    )
    display(
        {
            "text/html": _inline(style.to_html(uuid=path.stem)),
            "text/plain": f"{caption}\n{plain}",
        },
        raw=True,
    )


def _linked(
    frame: pd.DataFrame, text: pd.DataFrame, links: Mapping[str, Sequence[str]]
) -> Styler:
    """Return the text, escaped, with links in some of its columns or its index."""
    index = frame.index.name
    for column, addresses in links.items():
        cells = frame.index if column == index else text[column]
        linked = [
            f'<a href="{html.escape(address)}">{html.escape(str(cell))}</a>'
            for cell, address in zip(cells, addresses, strict=True)
        ]
        if column == index:
            text.index = pd.Index(linked, name=index)
        else:
            text[column] = linked
    if frame.index.nlevels == frame.columns.nlevels == 1:  # no header row of its own
        text = text.rename_axis(index=None, columns=index)
    style = text.style.format(escape="html", subset=text.columns.difference(links))
    return style.format_index(escape=None if index in links else "html")


def _aligned(style: Styler, frame: pd.DataFrame) -> Styler:
    """Align words to the left and let them wrap; quantities do neither."""
    long = [column for column in frame if _width(frame[column]) > 30]
    words = [column for column in frame if column in long or _is_text(frame[column])]
    short = [column for column in frame if column not in words]
    # Verdicts wear the bar of their card, as legible on a dark page as on a light one.
    style = style.map(_verdict_bar, subset=frame.columns[frame.map(_is_verdict).all()])
    style = style.set_properties(subset=long, **{"min-width": "11em"})
    style = style.set_properties(subset=words, **{"text-align": "left"})
    style = style.set_properties(subset=short, **{"white-space": "nowrap"})
    style = style.map_index(lambda name: "text-align: left" * (name in words), axis=1)
    if frame.index.nlevels == 1 and _width(frame.index) > 30:
        style = style.map_index(lambda _: "min-width: 11em; text-align: left")
    return style


def _inline(page: str) -> str:
    """Move a table's rules into its cells: Jupyter drops sheets it does not trust."""
    sheet, _, table = page.rpartition("</style>")
    rules = {
        name: "; ".join(filter(None, map(str.strip, rule.split(";"))))
        for names, rule in re.findall(r"([^{}>]+){([^}]*)}", sheet)
        for name in re.findall(r"#([\w-]+)", names)
    }

    def styled(found: re.Match) -> str:
        rule = rules.get(found[1])
        return f'{found[0]} style="{rule}"' if rule else found[0]

    return re.sub(r'\bid="([^"]+)"', styled, table.lstrip())


def _width(cells: pd.Series | pd.Index) -> int:
    return cells.astype(str).str.len().max()


def _is_text(cells: pd.Series) -> bool:
    """Whether all cells are words, or some are lists."""
    text = [cell for cell in cells if isinstance(cell, str)]
    if len(text) < len(cells):
        return False
    return all(cell[:1].isalpha() for cell in text) or any(
        ", " in cell for cell in text
    )


def _is_verdict(cell: object) -> bool:
    return cell in VERDICT_COLOURS


def _verdict_bar(cell: str) -> str:
    return f"{bar(cell)}; font-weight: 600"
