"""Execute a scratch copy of every notebook and export it to ``build/html/``."""

import asyncio
import re
import runpy
import sys
import time
from pathlib import Path

from nbconvert import HTMLExporter
from tqdm import tqdm
from traitlets.config import Config

from tools import cores, front, marking, notebooks, playground
from tools.front import Page

AT_A_TIME = 2
PLAYGROUND = "the-twin-playground"  # README's section on it, to which notebooks link


def exporter() -> HTMLExporter:
    """Return nbconvert's exporter with the project's settings."""
    config = Config()
    # Its own loader would take a dollar in the folder's name for a variable.
    settings = Path(__file__).with_name("nbconvert_config.py")
    runpy.run_path(str(settings), {"get_config": lambda: config})
    return HTMLExporter(config=config)


def relinked(html: str) -> str:
    """Return a page that links to the report alone, as it may be handed in alone."""
    section = f'href="../README.md#{PLAYGROUND}"'
    html = html.replace(section, f'href="{playground.PAGE}"')
    html = html.replace('href="../README.md"', 'href="index.html"')
    guide = f'href="../assignment/{marking.NAME}"'
    html = html.replace(guide, f'href="{marking.PAGE}"')
    return re.sub(r'<a href="\.\./[^"]*">(.*?)</a>', r"\1", html)


async def export(path: Path, folder: Path, to_html: HTMLExporter, bar: tqdm) -> Page:
    """Execute one notebook within a scratch folder and write its page there."""
    nb, start = notebooks.read(path), time.perf_counter()
    with cores.own(AT_A_TIME) as processors:
        failure = await notebooks.execute(
            nb, folder / "notebooks", folder / "plots", bar.update, processors
        )
    seconds = time.perf_counter() - start
    where = {"name": path.stem, "path": str(folder / "notebooks")}
    html, _ = to_html.from_notebook_node(nb, {"metadata": where, "report": True})
    html = relinked(html)
    (folder / "html" / f"{path.stem}.html").write_text(html, encoding="utf-8")
    bar.write(f"{seconds:4.0f} s  {path.name}{f': {failure}' if failure else ''}")
    return Page(path.stem, nb, failure, seconds)


async def export_all(paths: list[Path], folder: Path) -> list[Page]:
    """Export notebooks to ``html/`` of a scratch folder, and an index of them."""
    (folder / "notebooks").mkdir()
    (folder / "html").mkdir()
    to_html, slots = exporter(), asyncio.Semaphore(AT_A_TIME)
    cells = sum(len(notebooks.code_cells(notebooks.read(path))) for path in paths)
    style = "{l_bar}{bar}| {n_fmt} of {total_fmt} cells, {elapsed}"
    with tqdm(total=cells, bar_format=style, disable=None, file=sys.stdout) as bar:

        async def take_turn(path: Path) -> Page:
            async with slots:
                return await export(path, folder, to_html, bar)

        # Some draw conclusions from what the others save.
        pages = []
        for some in notebooks.in_order(paths):
            pages += await asyncio.gather(*map(take_turn, some))
    pages.sort(key=lambda page: page.name)
    index = relinked(front.render(pages, folder, to_html.environment))
    (folder / "html" / "index.html").write_text(index, encoding="utf-8")
    playground.build(folder / "html")
    return pages


def report(root: Path) -> list[Page]:
    """Export all notebooks of a repository to its ``build/html/``."""
    paths = notebooks.find(root / "notebooks")
    print(f"Notebooks to execute, {AT_A_TIME} at a time: {len(paths)}", flush=True)
    with notebooks.scratch(root) as folder:
        pages = asyncio.run(export_all(paths, folder))
        marking.write_page(root, folder / "html", exporter())
        notebooks.replace_folder(folder / "html", root / "build" / "html")
    return pages


def main() -> None:
    """Report on this repository; fail when a notebook failed."""
    with notebooks.said_clearly():
        pages = report(notebooks.ROOT)
    failed = [page for page in pages if page.failure]
    for page in failed:
        print(f"FAILED: {page.name}.ipynb, {page.failure}")
    print("Open build/html/index.html")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
