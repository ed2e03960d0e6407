"""The exported page of every committed notebook, as its outputs are stored."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup

from tools import notebooks, report

ROOT = Path(__file__).resolve().parent.parent
NAMES = [path.stem for path in notebooks.find(ROOT / "notebooks")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Export all notebooks without executing them."""
    folder, to_html = tmp_path_factory.mktemp("pages"), report.exporter()
    for name in NAMES:
        nb = notebooks.read(ROOT / "notebooks" / f"{name}.ipynb")
        where = {"name": name, "path": str(ROOT / "notebooks")}
        html, _ = to_html.from_notebook_node(nb, {"metadata": where, "report": True})
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in NAMES}


@pytest.fixture(scope="module")
def soups(pages) -> dict[str, BeautifulSoup]:
    return {
        name: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for name, page in pages.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_small_and_says_what_its_images_and_tables_show(name, pages, soups):
    assert pages[name].stat().st_size <= 5_000_000
    for image in soups[name].select("img"):
        assert image["src"].startswith("data:")
        assert len(image["alt"]) >= 30
    for table in soups[name].select("table"):
        assert table.select("th")
    for table in soups[name].select(".output table"):
        assert len(table.caption.get_text(strip=True)) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_headings_nest_and_links_say_where_they_go(name, soups):
    levels = [int(tag.name[1]) for tag in soups[name].select(".text :is(h1,h2,h3,h4)")]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    for link in soups[name].select("a[href]"):
        words = link.get_text(strip=True)
        assert words, link
        assert words.lower() not in {"here", "link", "this", "click"}, link


@pytest.mark.parametrize("name", NAMES)
def test_links_between_pages_lead_to_a_heading(name, soups):
    ids = {
        other: {unquote(tag["id"]) for tag in soups[other].select("[id]")}
        for other in NAMES
    }
    for link in soups[name].select("a[href]"):
        found = re.fullmatch(r"(?:(\d\d_\w+)\.html)?(?:#(.+))?", link["href"])
        if found is None or not link["href"]:
            continue
        other, anchor = found[1] or name, found[2]
        assert other in ids, link["href"]
        assert anchor is None or unquote(anchor) in ids[other], link["href"]


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
@pytest.mark.parametrize("name", NAMES)
def test_a_browser_renders_a_page_without_a_complaint(name, pages, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path}", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=20000", "--dump-dom"]
    run = subprocess.run(
        [*command, pages[name].as_uri()], capture_output=True, text=True, timeout=120
    )
    assert ":CONSOLE" not in run.stderr  # errors, and requests the policy blocked
    soup = BeautifulSoup(run.stdout, "html.parser")
    assert soup.select("main h1")
    assert not soup.select("mjx-merror, [data-mjx-error]")
    for element in soup.select("script, style, pre, code, mjx-container, details.code"):
        element.decompose()
    assert not re.search(r"\$|\\\w", soup.get_text())
