"""The exported page of every committed notebook, as its outputs are stored."""

import base64
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import browser
import pytest
from bs4 import BeautifulSoup
from contrast import contrast
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from helpers import claims
from tools import front, headlines, notebooks, picture, report

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
        assert table.caption is None  # it would be as wide as the table, and scroll
        caption = table.find_parent("figure").figcaption
        assert len(caption.get_text(strip=True)) >= 20
        assert caption.find_parent(class_="scroll") is None


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
    assert text >= {"ink", "soft", "link"}
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


WITH_CODE = new_notebook(
    cells=[
        new_markdown_cell(
            "# A\n\nIt is $x$, which ($y$) is $"
            + "+".join("abcdefghij" * 8)
            + "$, and so on. "
            + "Words that make a line as long as the page lets it be. " * 20
            + "\n\n![A dot that is drawn](../plots/01_a/dot.png)\n*It is* small.\n\n"
            "![A dot that is drawn](../plots/01_a/dot.png)\n\n*It is $z$ large.*\n\n"
            "## One\n\nx"
        ),
        new_code_cell("x = 1\n"),
        new_markdown_cell(
            "## Two\n\n`$no`\n\n| claim | effect |\n|---|---|\n| [A](#One) | ×2 |\n\n"
            "[Previous: b](00_b.ipynb) · [Next: c](02_c.ipynb)"
        ),
    ]
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Export one small notebook twice, as neighbours of each other."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "plots/01_a").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    Image.new("RGB", (1500, 400), "red").save(folder / "plots/01_a/dot.png")
    for name in ("01_a", "02_c"):
        about = {"name": name, "path": str(folder / "notebooks")}
        where = {"metadata": about, "report": True}
        html, _ = report.exporter().from_notebook_node(WITH_CODE, where)
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


def test_a_page_embeds_images_and_sets_the_line_below_as_caption(made):
    soup = BeautifulSoup((made / "01_a.html").read_text(), "html.parser")
    assert [tag["src"][:15] for tag in soup.select("main img")] == [
        "data:image/png;"
    ] * 2
    assert soup.select_one("figure")["style"] == "--pixels: 1500"
    (caption,) = soup.select("figure figcaption")
    assert caption.get_text(strip=True) == "It is $z$ large."
    joined = [tag.get_text() for tag in soup.select(".joined")]
    assert "($y$)" in joined
    assert joined[-1].endswith("j$,")
    assert not any(text == "$x$" for text in joined)
    (cell,) = soup.select("table.effects td[data-name=effect]")
    assert cell.get_text() == "×2"
    assert soup.select_one("nav [rel=prev]")["href"] == "00_b.html"
    assert soup.select_one("nav [rel=next]")["href"] == "02_c.html"


def test_only_a_page_with_formulas_carries_mathjax(made):
    plain = new_notebook(
        cells=[
            new_markdown_cell("# A\n\n`$x`\n\n```\n$y\n```"),
            new_code_cell(
                "1",
                outputs=[
                    new_output("display_data", {"text/html": "<script>`${x}`</script>"})
                ],
            ),
        ]
    )
    html, _ = report.exporter().from_notebook_node(plain)
    assert "MathJax =" not in html
    assert "MathJax =" in (made / "01_a.html").read_text()


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_a_page_folds_code_remembers_the_choice_and_lets_formulas_scroll(made):
    address = (made / "01_a.html").as_uri()
    opened = "[...document.querySelectorAll('.code')].filter(c => c.open).length"
    with browser.tab() as tab:
        tab.resize(1440, 500)
        tab.open(address)
        tab.run("MathJax.startup.promise.then(() => 1)")
        assert tab.run(opened) == 0
        tab.run("document.querySelector('.code summary').click()")
        assert tab.run(opened) == 1  # a single cell
        tab.run("document.querySelector('.bar button').click()")
        tab.open((made / "02_c.html").as_uri())
        assert tab.run(opened) == 1
        assert tab.run("document.querySelector('.bar button').innerText") == "Hide code"
        # The longest line of text, by the tops of its characters.
        longest = tab.run("""(() => {
          const text = [...document.querySelector('.text p').childNodes].at(-1);
          const lines = {}, range = document.createRange();
          for (let i = 0; i < text.length; i++) {
            range.setStart(text, i);
            range.setEnd(text, i + 1);
            const top = Math.round(range.getBoundingClientRect().top);
            lines[top] = (lines[top] || 0) + 1;
          }
          return Math.max(...Object.values(lines));
        })()""")
        assert 55 <= longest <= 76  # and the blank at its end
        marked = "document.querySelector('.toc [aria-current]')?.textContent"
        tab.run("document.body.style.paddingBottom = '100vh'")
        tab.run("document.querySelectorAll('h2')[1].scrollIntoView()")
        tab.wait(f"{marked} === 'Two'")
        tab.run("document.querySelector('figure img').click()")
        assert tab.run("document.querySelector('dialog').open")
        tab.run("document.querySelector('dialog').click()")
        assert not tab.run("document.querySelector('dialog').open")
        tab.resize(390, 800)
        tab.wait("document.querySelector('mjx-container.wide')")
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        sizes = "[...document.querySelectorAll('mjx-container svg')].map(s => "
        heights = tab.run(f"{sizes} s.getBoundingClientRect().height)")
        assert min(heights) > 6  # none is shrunk
        # Nor is a figure: what is 10 points high in it, at 150 dots an inch, has 9.
        assert tab.run("document.querySelector('.pan').clientWidth") < 390
        drawn = tab.run("document.querySelector('.pan img').clientWidth")
        assert drawn / 1500 * 10 / 72 * 150 >= 9
        # The way back stands on one line beside the notebooks before and after.
        assert tab.run("document.querySelector('.home').offsetHeight") < 25
        assert not tab.complaints


WIDE = "".join(f"<td>{number}.0000&nbsp;±&nbsp;0.0000</td>" for number in range(6))
OUTPUTS = [
    "<table><caption>Claims, with a number each.</caption><thead><tr><th>no.</th>"
    "<th>claim</th><th>stands?</th><th>effect</th></tr></thead><tbody><tr>"
    '<th class="row_heading">1</th><td><a href="#A">It is claimed.</a></td>'
    "<td>yes</td><td>×2</td></tr></tbody></table>",
    "<table><caption>Numbers, too many for the width of the text.</caption>"
    f"<thead><tr><th></th></tr></thead><tbody><tr>{WIDE}</tr></tbody></table>",
    "<pre>" + "A line that is long. " * 20 + "</pre>",
    claims.interval_bar(0.02, 0.01, 0.03, 0.005, "supported"),
]


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_what_is_wide_finds_room_or_shows_that_it_goes_on(tmp_path):
    outputs = [new_output("display_data", {"text/html": html}) for html in OUTPUTS]
    outputs.append(new_output("stream", name="stdout", text="long " * 50))
    nb = new_notebook(cells=[new_markdown_cell("# A"), new_code_cell("1")])
    nb.cells[1].outputs = outputs
    page = tmp_path / "page.html"
    page.write_text(report.exporter().from_notebook_node(nb)[0], encoding="utf-8")
    table = "document.querySelectorAll('.scroll')[1]"
    cut = f"{table}.scrollWidth > {table}.clientWidth"
    around = f"getComputedStyle({table}.closest('.html')).overflowX"
    place = "document.querySelector('.effects {}').getBoundingClientRect().top"
    with browser.tab() as tab:
        tab.resize(1440, 800)
        tab.open(page.as_uri())
        assert tab.run(f"{table}.clientWidth") > tab.run(
            "document.querySelector('.data').clientWidth"
        )
        assert not tab.run(cut)
        assert tab.run(around) == "visible"
        assert tab.run("document.documentElement.scrollWidth") == 1440
        tab.resize(390, 800)
        assert tab.run(cut)
        assert tab.run("document.documentElement.scrollWidth") == 390
        shade = "getComputedStyle(document.querySelector('.output > pre'))"
        assert "gradient" in tab.run(f"{shade}.backgroundImage")
        # A claim stands beside its number, and what is known of it below.
        number, claim, answer = (
            tab.run(place.format(cell))
            for cell in ("tbody th", "td:has(a)", "[data-name=stands]")
        )
        assert number == claim < answer
        # Paper shows where an interval lies, too.
        tab.call("Emulation.setEmulatedMedia", media="print")
        printed = "getComputedStyle(document.querySelector('.bn-interval span'))"
        assert tab.run(f"{printed}.printColorAdjust") == "exact"


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_a_page_without_code_offers_none(tmp_path):
    page = tmp_path / "page.html"
    nb = new_notebook(cells=[new_markdown_cell("# A\n\nNo code.")])
    page.write_text(report.exporter().from_notebook_node(nb)[0], encoding="utf-8")
    with browser.tab() as tab:
        tab.open(page.as_uri())
        assert tab.run("document.querySelector('.bar button').hidden")
        assert not tab.complaints


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_the_verdicts_fit_on_eleven_sheets_of_paper_without_code(pages):
    with browser.tab() as tab:
        tab.call("Page.navigate", url=pages["11_verdict"].as_uri())
        tab.wait("location.protocol === 'file:' && document.readyState === 'complete'")
        tab.run("window.MathJax && MathJax.startup.promise.then(() => 1)")
        printed = tab.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        tab.call("Emulation.setEmulatedMedia", media="print")
        code = "[...document.querySelectorAll('.code')].map(c => c.offsetHeight)"
        assert set(tab.run(code)) == {0}
        size = "parseFloat(getComputedStyle(document.querySelector('%s')).fontSize)"
        text, caption, heading = (
            tab.run(size % tag) for tag in (".text p", "figcaption", "h2")
        )
        assert caption <= text < heading < 1.6 * text
        # What has many rows is as wide as the page.
        room = tab.run("document.querySelector('main').clientWidth")
        drawn = "[...document.querySelectorAll('.tall img')].map(i => i.clientWidth)"
        assert set(tab.run(drawn)) == {room}
    pdf = base64.b64decode(printed["data"])
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) < 12


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_claims_are_found_by_word_verdict_and_question(tmp_path):
    everything = [
        front.Page(name, notebooks.read(ROOT / f"notebooks/{name}.ipynb"), None, 1.0)
        for name in NAMES
    ]
    index = tmp_path / "index.html"
    html = front.render(everything, ROOT, report.exporter().environment)
    index.write_text(html, encoding="utf-8")
    assert "MathJax" not in html
    soup = BeautifulSoup(html, "html.parser")
    found = headlines.conclusion(everything[NAMES.index(headlines.LAST)].nb)
    assert soup.select_one("h1 + .found").get_text(strip=True) == found
    assert soup.select_one(".found + .note a[href='#questions']")
    assert soup.select_one("h2#questions + .text table")
    assert "clearest findings" in soup.select_one("p:has(+ .sides)").get_text()
    policy = soup.select_one("meta[content*=default]")
    assert "script-src 'sha256-" in policy["content"]
    known = claims.results()
    shown = "document.querySelectorAll('tr[data-verdict]:not([hidden])').length"
    with browser.tab() as tab:
        tab.resize(390, 800)
        tab.open(index.as_uri())
        assert tab.run(shown) == len(known)
        assert tab.run("document.documentElement.scrollWidth") == 390
        tab.run("document.querySelector('.tally [data-verdict=contradicted]').click()")
        replicated = known[known["unit"] != claims.MEASURED_ANEW]
        wrong = replicated[replicated["verdict"] == "contradicted"]
        assert tab.run(shown) == (~wrong["limit"].astype(bool)).sum()
        # A colour means a verdict, wherever it stands; each is counted in one place.
        assert tab.run("""(() => {
          const colours = {};
          for (const one of document.querySelectorAll('.tally a, .verdict')) {
            const verdict = one.dataset.verdict ?? one.firstChild.textContent;
            (colours[verdict] ??= new Set()).add(getComputedStyle(one).borderLeftColor);
          }
          return Object.values(colours).map(found => found.size);
        })()""") == [1] * len(claims.VERDICT_COLOURS)
        assert tab.run("document.querySelectorAll('.tally [style]:not(a)').length") == 0
        told = "document.querySelector('.tally [data-verdict=contradicted]').innerText"
        assert tab.run(told) == f"{tab.run(shown)} contradicted"
        # The claim and its verdict stand above the picture, on a phone too.
        place = "document.querySelector('.lead > %s').getBoundingClientRect().top"
        claim, drawn, note = (
            tab.run(place % tag) for tag in ("div", "figure", ".note")
        )
        assert claim < drawn < note
        tab.run("document.querySelector('[type=reset]').click()")
        tab.wait(f"{shown} === {len(known)}")
        for name, value in {"words": "ADAM mnist", "question": "Q2.5"}.items():
            tab.run(f"document.querySelector('[name={name}]').value = '{value}'")
        tab.run("document.forms[0].dispatchEvent(new Event('input'))")
        words = known["statement"].str.contains("MNIST.*Adam")
        fits = words & known["section"].str.contains(r"Q2\.5|Q2\.2–")
        assert 0 < tab.run(shown) == fits.sum()
        assert not tab.complaints


def test_pages_are_made_in_a_folder_of_any_name(tmp_path, monkeypatch):
    folder = tmp_path / "a$HOME" / "tools"
    shutil.copytree(ROOT / "tools", folder)
    monkeypatch.setattr(report, "__file__", str(folder / "report.py"))
    nb = new_notebook(cells=[new_markdown_cell("# A")])
    page, _ = report.exporter().from_notebook_node(nb)
    assert "<h1" in page
