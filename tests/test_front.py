"""What a visitor sees first: findings by rule, and cards with pictures."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image, ImageDraw

from tools import front, headlines


def known(*rows) -> pd.DataFrame:
    """Claims as (key, verdict, low, high), each with what else is given."""
    shared = {"notebook": "06_x", "section": "A (Q1.1)", "chapter": "training"}
    shared |= {"unit": "accuracy", "margin": 0.005, "limit": False, "primary": True}
    shared |= {"n_replications": 3, "link": "06_x.ipynb#A-(Q1.1)"}
    listed = []
    for key, verdict, low, high, *other in rows:
        row = shared | {"claim": key, "statement": key, "verdict": verdict}
        row |= {"low": low, "high": high, "effect": (low + high) / 2}
        listed.append(row | dict(*other))
    return pd.DataFrame(listed).set_index("claim")


def statements(found) -> list[str]:
    return [one.statement for one in found]


def test_the_strongest_findings_follow_the_rule():
    limit, other = {"limit": True}, {"primary": False}
    shown = headlines.front(
        known(
            ("weak", "supported", 0.01, 0.5),
            ("strong", "supported", 0.03, 0.04),
            ("wrong", "contradicted", -0.09, -0.02),
            ("limit", "supported", 0.05, 0.06, limit),
            ("no limit", "contradicted", -0.05, -0.02, limit),
            ("open", "undecided", -0.9, 0.9),
            ("none", "no effect", -0.001, 0.001),
            ("aside", "supported", 0.5, 0.6, other),
            ("weakest", "supported", 0.006, 0.6),
            ("half", "supported", 0.9, 1, {"unit": "factor", "margin": 10.0}),
            ("seconds", "supported", 0.9, 1, {"unit": "time", "n_replications": 1}),
        )
    )
    assert statements(shown.supporting) == ["strong", "no limit", "weak"]
    assert statements(shown.opposing) == ["limit", "wrong"]
    others = {"supported": 5, "contradicted": 1, "no effect": 1, "undecided": 1}
    limits = {"supported": 1, "contradicted": 1, "no effect": 0, "undecided": 0}
    assert shown.tally == {"benefits and other claims": others, "limits": limits}
    assert shown.anew == 1
    assert shown.lead is None


def test_the_readme_and_the_first_page_say_the_same():
    lead = (headlines.LEAD, "supported", 0.02, 0.04)
    every = known(lead, ("bad", "contradicted", -0.03, -0.02))
    last = page("11_x", "# A\n\n**In short.** It helps. It\nlimits (1.5). More.\n\nB.")
    found = headlines.conclusion(last.nb)
    assert found == "It helps. It limits (1.5)."
    text = headlines.front_text(every, found)
    assert text.startswith(f"{found}\n\nThe notebooks answer an assignment: [")
    assert "](plots/06_x/rates.png)](notebooks/06_x.ipynb#A-(Q1.1))" in text
    assert "*supported*, +3.00 points (95 % interval +2.00 to +4.00 points; 3" in text
    # What is shown first is not shown again.
    assert text.count("](notebooks/06_x.ipynb#A-(Q1.1)): *") == 1
    for name, counts in headlines.front(every).tally.items():
        cells = " | ".join(f"[{n}]({headlines.EVERY})" for n in counts.values())
        assert f"| {sum(counts.values())} {name} | {cells} |" in text
    assert headlines.HOLDS in text


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("1. A (Q2.1)", ["Q2.1"]),
        ("A (Q2.2–Q2.4)", ["Q2.2", "Q2.3", "Q2.4"]),
        ("A (Q3.1, Q3.2)", ["Q3.1", "Q3.2"]),
        ("What we saw", []),
    ],
)
def test_a_heading_names_its_questions(section, expected):
    assert front.questions(section) == expected


def png(*colours: str, gap: int = 20, height: int = 600) -> bytes:
    """Draw panels side by side, 900 pixels wide each, with a blank strip between."""
    image = Image.new("RGB", (len(colours) * (900 + gap), height), "white")
    for index, colour in enumerate(colours):
        left = index * (900 + gap)
        ImageDraw.Draw(image).rectangle((left, 0, left + 899, height), fill=colour)
    with io.BytesIO() as packed:
        image.save(packed, "png")
        return packed.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def test_a_card_shows_one_panel_and_a_phone_both():
    two = png("red", "blue")
    panel = pixels(front.cropped(two))
    assert not ((panel[..., 2] > 200) & (panel[..., 0] < 50)).any()
    assert (panel[..., 0] > 200).all(axis=1).any()
    tall = pixels(front.stacked(two))
    assert tall.shape[0] == 1200
    assert tuple(tall[300, 300]) == (255, 0, 0) != tuple(tall[900, 300])
    half = pixels(front.cropped(two, 0.25))
    assert half.shape[1] == 1840 * 0.25
    assert half[..., 0].min() > 200


def test_of_panels_above_one_another_a_card_shows_the_one_with_the_axis():
    image = Image.new("RGB", (900, 1220), "red")
    ImageDraw.Draw(image).rectangle((0, 600, 900, 619), fill="white")
    ImageDraw.Draw(image).rectangle((0, 620, 900, 1220), fill="blue")
    with io.BytesIO() as packed:
        image.save(packed, "png")
        shown = pixels(front.cropped(packed.getvalue()))
    assert 590 < shown.shape[0] < 620
    assert tuple(shown[-1, 0]) == (0, 0, 255)
    assert shown[..., 2].min() > 200


def page(name: str, opening: str, *figures: bytes) -> front.Page:
    outputs = [
        new_output(
            "display_data",
            {"image/png": base64.b64encode(figure).decode()},
            metadata={"image/png": {"alt": "drawn"}},
        )
        for figure in figures
    ]
    cells = [new_markdown_cell(opening), new_code_cell("1", outputs=outputs)]
    return front.Page(name, new_notebook(cells=cells), None, 1.0)


def test_no_two_cards_share_a_picture_and_the_maker_chooses_first(tmp_path):
    one, two, three = (png(colour) for colour in ("red", "blue", "green"))
    (tmp_path / "plots/06_x").mkdir(parents=True)
    (tmp_path / "plots/06_x/rates.png").write_bytes(one)
    text = "# A\n\n![Rates](../plots/06_x/rates.png)"
    pages = [page("00_x", text, two), page("06_x", text, three), page("07_x", "", one)]
    chosen = front.cards(pages, tmp_path)
    expected = {"00_x": (two, "drawn"), "06_x": (one, "Rates")}
    assert chosen == {
        name: (base64.b64encode(front.cropped(data)).decode(), alt)
        for name, (data, alt) in expected.items()
    }


def test_a_finding_is_the_paragraph_in_short_without_mathjax():
    text = (
        "# A\n\n*Answers Q1.*\n\n**In short.** It has $\\gamma$\nand more.\n\nNot this."
    )
    assert page("01_x", text).finding == "It has γ and more."
    assert page("01_x", "# A\n\nNothing.").finding == ""
