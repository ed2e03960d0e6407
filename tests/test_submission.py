"""The notebook to hand in: merged from the chapters, executed, self-contained."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks, submission

ROOT = Path(__file__).resolve().parent.parent
SETUP = {"tags": ["set-up"]}
DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2GwAAAABJ"
    "RU5ErkJggg=="
)


@pytest.fixture(scope="module")
def merged():
    return submission.merge(ROOT)


def prose(nb) -> str:
    return "\n\n".join(c.source for c in nb.cells if c.cell_type == "markdown")


def headings(nb) -> list[tuple[str, str]]:
    return submission.HEADING.findall(submission.FENCE.sub("", prose(nb)))


@pytest.mark.parametrize("date", ["20_November", "1_March", "29_February"])
def test_a_date_names_the_file(date):
    assert submission.check_date(date) == date


@pytest.mark.parametrize(
    "date", ["", "20-11", "20_november", "31_April", "0_May", "November_20", "²_May"]
)
def test_a_wrong_date_is_refused_with_an_example(date):
    with pytest.raises(ValueError, match=r"as in DATE=20_November, not ") as caught:
        submission.check_date(date)
    assert repr(date) in str(caught.value)


def test_the_merged_notebook_has_one_title_and_headings_of_different_names(merged):
    levels = [marks for marks, _ in headings(merged)]
    assert levels.count("#") == 1
    assert levels[0] == "#"
    titles = [title for _, title in headings(merged)]
    assert len(set(titles)) == len(titles)
    assert titles.count("References") == 1
    assert titles[-1] == "References"


def test_every_link_of_the_merged_notebook_leads_somewhere(merged):
    anchors = {"#" + title.replace(" ", "-") for _, title in headings(merged)}
    links = [target for _, target in submission.LINK.findall(prose(merged))]
    assert len(links) > 100
    for target in links:
        assert target in anchors or re.match(r"https?://", target), target


def test_the_merged_notebook_opens_with_every_question(merged):
    first = merged.cells[0].source
    for question in ("Q1.1", "Q1.2", "Q1.3", "Q2.1", "Q2.2", "Q2.6", "Q3.1", "Q3.2"):
        assert f"**{question}" in first
    assert "implementation and experimental analysis" in first


def test_all_code_is_there_in_order_and_the_set_up_once(merged):
    expected = []
    for number in submission.CHAPTERS:
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        for cell in notebooks.code_cells(notebooks.read(path)):
            if "set-up" not in cell.metadata.get("tags", []) or not expected:
                expected.append(cell.source)
    assert [cell.source for cell in notebooks.code_cells(merged)] == expected


@pytest.fixture
def repository(tmp_path):
    """Nine tiny notebooks that define the same name and cite the same paper."""
    (tmp_path / "notebooks").mkdir()
    for number in ("00", *submission.CHAPTERS):
        picture = tmp_path / "plots" / f"{number}_b" / "dot.png"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(base64.b64decode(DOT))
        text = (
            f"# Chapter {number}\n\n![A dot (one)](../plots/{number}_b/dot.png)\n"
            "*It is small.*\n\nSee [the sum](02_b.ipynb#1.-A-sum), "
            "[08](08_c.ipynb)"
            "\n\n## 1. A sum\n\n```\n# no heading\n```\n\n## References\n\n"
            "- A. Author, *A paper*, [link](https://example.org/a).\n\n[Next](01_b.ipynb)"
        )
        html = '<a href="01_b.ipynb#1.-A-sum">a claim</a>'
        show = f"from IPython.display import HTML, display\ndisplay(HTML({html!r}))"
        cells = [
            new_markdown_cell(text),
            new_code_cell("started = 1", metadata=SETUP),
            new_code_cell(f"x = {int(number)}\nprint(x + started)"),
            new_code_cell(show),
        ]
        nb = new_notebook(cells=cells)
        nbformat.write(nb, tmp_path / "notebooks" / f"{number}_b.ipynb")
    return tmp_path


def test_a_submission_is_executed_and_links_within_itself(repository):
    path = submission.submission(repository, "20_November")
    assert path == repository / "submission" / "20_November_BatchNormalization.ipynb"
    nb = notebooks.read(path)
    cells = notebooks.code_cells(nb)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    printed = [c.outputs[0].text for c in cells if c.source.startswith("x =")]
    assert printed == [f"{int(number) + 1}\n" for number in submission.CHAPTERS]
    text = prose(nb)
    assert "[the sum](#2.1-A-sum), 08" in text
    assert "# no heading" in text
    assert text.count("- A. Author") == 1
    assert "[Next]" not in text
    assert "../plots" not in text
    pictures = [cell for cell in nb.cells if "attachments" in cell]
    assert len(pictures) == len(submission.CHAPTERS)
    assert "![A dot (one)](attachment:01_b-dot.png)" in pictures[0].source
    assert pictures[0].attachments["01_b-dot.png"] == {"image/png": DOT}
    assert '<a href="#1.1-A-sum">' in cells[-1].outputs[0].data["text/html"]
    page = BeautifulSoup(path.with_suffix(".html").read_text(), "html.parser")
    assert page.h1.get_text().startswith("Batch normalization")
    assert page.img["src"] == f"data:image/png;base64,{DOT}"
    assert page.figcaption.get_text(strip=True) == "It is small."
    names = {tag["id"] for tag in page.select("[id]")}
    assert {"2.1-A-sum", "1.1-A-sum"} <= names


def test_a_cell_that_fails_is_named_and_nothing_is_written(repository):
    path = repository / "notebooks" / "05_b.ipynb"
    nb = notebooks.read(path)
    nb.cells.append(new_code_cell("raise OSError('no more')"))
    nbformat.write(nb, path)
    with pytest.raises(RuntimeError, match=r"Nothing was written: .*OSError: no more"):
        submission.submission(repository, "20_November")
    assert not (repository / "submission").exists()


def test_an_image_that_is_missing_is_named(repository):
    (repository / "plots" / "01_b" / "dot.png").unlink()
    nb = submission.merge(repository)
    with pytest.raises(ValueError, match=r"no image plots/01_b/dot\.png: run make"):
        submission.attach(nb, repository)


def test_a_missing_chapter_is_named(repository):
    (repository / "notebooks" / "03_b.ipynb").unlink()
    with pytest.raises(ValueError, match=r"notebooks/ lacks 03"):
        submission.merge(repository)
