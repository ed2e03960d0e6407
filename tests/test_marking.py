"""The marking guide is what its sources make, is complete, and its links lead on."""

import re
import tomllib
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools import assignment, feedback, marking, notebooks, report

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "assignment" / marking.NAME).read_text(encoding="utf-8")
ENTRIES = feedback.marking(ROOT)
ITEMS = [name for name in ENTRIES if name != "groups"]
LINK = re.compile(r"\[([^]]+)\]\(\.\./notebooks/((?:[^()\s]|\([^()\s]*\))+)\)")


def section(item: str) -> str:
    """Return what the guide says of one item."""
    _, _, rest = GUIDE.partition(f'<a id="{item}"></a>')
    return rest.partition("<a id=")[0]


def headings(name: str) -> dict[str, str]:
    """Return a notebook's headings by the anchors that lead to them."""
    cells = notebooks.read(ROOT / "notebooks" / name).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    titles = re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE)
    return {title.replace(" ", "-"): title for title in titles}


def test_the_guide_is_what_its_sources_make():
    assert marking.text(ROOT) == GUIDE, "run make assignment"


def test_every_question_of_the_assignment_has_its_section():
    asked = " ".join(re.findall(r"^## (Q.+?): ", GUIDE, re.MULTILINE))
    asked = asked.replace("Q2.2 to Q2.4", "Q2.2 Q2.3 Q2.4")
    questions = [f"Q1.{n}" for n in range(1, 4)] + [f"Q2.{n}" for n in range(1, 7)]
    assert sorted(set(asked.split())) == [*questions, "Q3.1", "Q3.2"]
    assert "## Presentation: " in GUIDE


@pytest.mark.parametrize("item", ITEMS)
def test_a_section_says_what_earns_full_half_and_no_points(item):
    text = section(item)
    of = float(re.search(r"^## .* \(([\d.]+) points\)$", text, re.MULTILINE)[1])
    rows = re.findall(r"^\| \*\*([\d.]+)\*\* \| (.{15,}) \|$", text, re.MULTILINE)
    assert [float(points) for points, _ in rows] == [of, of / 2, 0]
    assert len(re.search(r"\*\*Model answer\.\*\* (.+)", text)[1].split()) >= 30
    assert "\n\n" not in re.search(r"\*\*Model answer\.\*\* (.+)", text)[1]
    errors = re.findall(r"^- .+ See \[.+\]\(.+\)\.$", text, re.MULTILINE)
    assert 2 <= len(errors) <= 3
    assert re.search(r"^\*\*Evidence:\*\* \[", text, re.MULTILINE)


def test_its_points_sum_to_the_rubric():
    told = re.findall(r"^\| ([\w ]+) \| (\d+) \| (.+) \|$", GUIDE, re.MULTILINE)
    sums = []
    for _, points, listed in told:
        items = re.findall(r"\]\(#([^)]+)\)", listed)
        heads = [re.search(r"\(([\d.]+) points\)$", section(i), re.M)[1] for i in items]
        assert sum(map(float, heads)) == float(points)
        sums.append(int(points))
    assert sums == [30, 40, 20, 10]


def test_links_lead_to_sections_and_say_so():
    found = LINK.findall(GUIDE)
    assert len(found) == GUIDE.count("](../notebooks/")
    for said, link in found:
        name, _, anchor = link.partition("#")
        known = headings(name)
        assert anchor in known, link
        assert said.startswith(name[:2])
        assert said.partition(": ")[2] in known[anchor], said


def test_every_mistake_of_notebook_09_is_one_that_the_guide_names():
    name = "09_common_mistakes.ipynb"
    numbered = {anchor for anchor in headings(name) if re.match(r"[1-9]\.", anchor)}
    errors = [m["see"] for item in ITEMS for m in ENTRIES[item]["mistakes"]]
    assert len(numbered) == 9
    assert numbered <= {link.partition("#")[2] for link in errors if name in link}


def test_the_notes_on_an_item_name_the_right_judge():
    essays = marking.model_answers(notebooks.read(assignment.SOURCE))
    for item in ITEMS:
        judge = "person" if item in essays else "program"
        assert f"*Judged by a {judge}.*" in section(item)


@pytest.mark.parametrize(
    ("old", "new", "item"),
    [
        ('model = "After', 'mode = "After', "Q1.3-moving"),
        ('title = "The concept"', 'title = "x"\nmodel = "twice"', "Q1.1"),
    ],
)
def test_an_item_without_one_model_answer_is_named(tmp_path, old, new, item):
    folder = tmp_path / "assignment"
    folder.mkdir()
    source = (ROOT / "assignment" / "marking.toml").read_text(encoding="utf-8")
    assert old in source
    changed = source.replace(old, new)
    tomllib.loads(changed)
    (folder / "marking.toml").write_text(changed, encoding="utf-8")
    (folder / assignment.NAME).symlink_to(assignment.SOURCE)
    with pytest.raises(ValueError, match=f"'{item}' needs one model answer"):
        marking.text(tmp_path)


def test_its_page_links_to_pages_of_the_report(tmp_path):
    to_html = report.exporter()
    marking.write_page(ROOT, tmp_path, to_html)
    html = (tmp_path / marking.PAGE).read_text(encoding="utf-8")
    soup = BeautifulSoup(html, "html.parser")
    assert soup.select_one("title").text.startswith("Marking guide")
    ids = {tag["id"] for tag in soup.select("[id]")}
    links = [a["href"] for a in soup.select(".text a[href]")]
    assert len(links) > 60
    for link in links:
        page, _, anchor = link.partition("#")
        if page:
            source = page.replace(".html", ".ipynb")
            assert (ROOT / "notebooks" / source).is_file(), link
            assert anchor in headings(source), link
        else:
            assert anchor in ids, link
    assert len(soup.select(".text table")) == len(ITEMS) + 1


def test_other_pages_lead_to_it_and_a_report_can_do_without(tmp_path):
    link = f'<a href="../assignment/{marking.NAME}">guide</a>'
    assert report.relinked(link) == f'<a href="{marking.PAGE}">guide</a>'
    marking.write_page(tmp_path, tmp_path, None)
    assert list(tmp_path.iterdir()) == []
