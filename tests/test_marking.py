"""The marking guide is what its sources make, is complete, and its links lead on."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup

from assignment import formulas, networks, tables
from assignment.marks import Mark
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
def test_a_section_says_what_earns_points(item):
    text, entry = section(item), ENTRIES[item]
    of = float(re.search(r"^## .* \(([\d.]+) points\)$", text, re.MULTILINE)[1])
    rows = re.findall(r"^\| \*\*([\d.]+)\*\* \| (.{12,}) \|$", text, re.MULTILINE)
    *earned, nothing = [float(points) for points, _ in rows]
    assert nothing == 0
    if "parts" in entry:
        assert sum(earned) == of
        assert "| points, added up | for |" in text
    else:
        assert earned == [of, of / 2]
    assert len(re.search(r"\*\*Model answer\.\*\* (.+)", text)[1].split()) >= 30
    assert "\n\n" not in re.search(r"\*\*Model answer\.\*\* (.+)", text)[1]
    errors = re.findall(r"^- .+\.$", text, re.MULTILINE)
    assert 2 <= len(errors) <= 4
    assert len(errors) == len(entry["mistakes"])
    assert re.search(r"^\*\*Evidence:\*\* \[", text, re.MULTILINE)


@pytest.mark.parametrize("item", ITEMS)
def test_a_section_asks_what_the_notebook_asks(item):
    asked = [line[2:] for line in section(item).splitlines() if line.startswith("> ")]
    notebook = "\n".join(
        cell.source for cell in notebooks.read(assignment.SOURCE).cells
    )
    assert asked
    assert all(line in notebook for line in asked)
    assert not any(line.startswith(("#", "*My prediction")) for line in asked)


def test_training_is_asked_with_the_networks():
    texts = marking.questions(notebooks.read(assignment.SOURCE))
    assert set(texts) == set(ITEMS)
    assert "One function trains either network" in texts["Q2.4"]
    assert "One function trains either network" not in texts["Q2.5"]
    assert (
        marking.quoted("## Q1 A\n\nSo?\n\n*My prediction:* …\n\nB") == "> So?\n>\n> B"
    )


def test_the_guide_prices_slips_as_the_program_does():
    text = section("Q1.3-forward")
    for slip in formulas.FORWARD.values():
        assert f"| **−{slip.price:g}** | “{slip.says}” |" in text


def network(*kinds: str) -> dict:
    """Return a network as the sandbox describes it, 784-256-128-10."""
    layers, inputs = [], 784
    for kind in kinds:
        units = {784: 256, 256: 128, 128: 10}[inputs] if kind == "Dense" else 0
        layer = {"kind": kind, "activation": "linear", "units": units, "weights": []}
        if kind == "Dense":
            layer |= {"use_bias": True, "weights": [np.zeros((inputs, units))]}
            inputs = units
        layers.append(layer)
    return {"layers": layers}


def test_parts_of_the_guide_are_those_the_program_adds(monkeypatch):
    added = []

    def total(given):
        added.append([mark.of for mark in given])
        return Mark(0, 0, "")

    monkeypatch.setattr(networks, "total", total)
    monkeypatch.setattr(tables, "total", total)
    plain = ("Dense", "ReLU", "Dense", "ReLU", "Dense")
    networks.judge_networks([{"value": network(*plain)}] * 3)
    pixels = np.zeros((1, 2, 2), "uint8")
    images = [{"value": dict.fromkeys(networks.PARTS, pixels)}]
    networks._judge_parts([pixels] * 3, images)
    arms = {"plain": [0.5, 0.6, 0.7], "batch_norm": [0.6, 0.7, 0.8]}
    runs = {"seed": [0, 1, 2], **arms}
    again = {"plain": 0.5, "batch_norm": 0.6}
    tables.judge_runs([{"value": [runs, (0.0, 0.1), "supported"]}], again, 0)
    names = ("budget", "batch_size", "network")
    sweep = dict(zip(names, zip(*tables.settings(), strict=True), strict=True))
    sweep |= {"updates": [1] * 12, "accuracy": [0.5] * 12}
    setting = tables.settings()[0]
    sweep = {name: list(values) for name, values in sweep.items()}
    tables.judge_sweep([{"value": sweep}], {setting[2]: 0.5}, setting)
    of_networks, of_images, of_runs, of_sweep = added
    told = {
        item: [part["points"] for part in ENTRIES[item]["parts"]]
        for item in ("Q2.4", "Q2.5", "Q3.1", "Q2.1")
    }
    assert sorted(told["Q2.4"]) == sorted(of_networks)
    assert told["Q2.5"] == of_runs
    assert told["Q3.1"] == of_sweep
    scaling, test, others = told["Q2.1"]
    assert [others / 2, others / 2, test] == of_images
    assert scaling == 6 - sum(of_images)


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
    errors = [m.get("see", "") for item in ITEMS for m in ENTRIES[item]["mistakes"]]
    assert len(numbered) == 9
    assert numbered <= {link.partition("#")[2] for link in errors if name in link}


def test_the_notes_on_an_item_name_the_right_judge():
    essays = marking.model_answers(notebooks.read(assignment.SOURCE))
    for item in ITEMS:
        judge = "person" if item in essays else "program"
        assert f"*Judged by a {judge}.*" in section(item)
        assert ("**In free form.** " in section(item)) == (judge == "program")


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
    assert len(links) > 50
    for link in links:
        page, _, anchor = link.partition("#")
        if page.startswith("https://"):
            assert "arxiv.org" in page, link
        elif page:
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
