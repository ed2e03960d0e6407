"""The exported page of every committed notebook, as its outputs are stored."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from contrast import contrast
from PIL import Image

from tools import notebooks, picture, report

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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_code_are_legible_on_a_light_and_a_dark_page(scheme):
    style = ROOT / "tools/templates/offline/style.css"
    blocks = re.findall(r":root {(.*?)}", style.read_text(), re.DOTALL)
    block = blocks[["light", "dark"].index(scheme)]
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", block))
    text = {
        name for name in colours if name in {"ink", "soft", "link"} or "jp-" in name
    }
    assert len(text) == 12
    for name in text:
        for ground in ("page", "panel"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_colour_text_only_on_a_ground_of_their_own(name, soups):
    # The page may be dark. It takes the colours off Keras' summaries by itself.
    soup = soups[name]
    rules = [tag["style"] for tag in soup.select(".html :not(pre *)[style]")]
    for sheet in soup.select(".html style"):
        rules += re.findall(r"{(.*?)}", sheet.text, re.DOTALL)
    for rule in rules:
        colours = dict(re.findall(r"(?<![-\w])(color|background):\s*(#\w+)", rule))
        if "color" in colours:
            assert contrast(colours["color"], colours["background"]) >= 4.5, rule


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
@pytest.mark.parametrize("name", NAMES)
def test_a_browser_renders_a_page_without_a_complaint(name, pages):
    run = picture.browse(pages[name], "--dump-dom")
    assert ":CONSOLE" not in run.stderr  # errors, and requests the policy blocked
    soup = BeautifulSoup(run.stdout, "html.parser")
    assert soup.select("main h1")
    assert not soup.select("mjx-merror, [data-mjx-error]")
    for element in soup.select("script, style, pre, code, mjx-container, details.code"):
        element.decompose()
    assert not re.search(r"\$|\\\w", soup.get_text())


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_a_picture_of_a_page_is_whole_and_an_old_one_survives(tmp_path):
    page, png = tmp_path / "index.html", tmp_path / "plots" / "index.png"
    with pytest.raises(FileNotFoundError, match="run make report first"):
        picture.photograph(page, png)
    page.write_text("<h1>Report</h1>")
    picture.photograph(page, png)
    with Image.open(png) as image:
        assert image.size == (picture.WIDTH, picture.HEIGHT)
    old = png.read_bytes()
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(RuntimeError, match="no picture: crashed"),
    ):
        failed = SimpleNamespace(stderr="crashed")
        patch.setattr(picture, "browse", lambda *_: failed)
        picture.photograph(page, png)
    assert [path.read_bytes() for path in png.parent.iterdir()] == [old]
