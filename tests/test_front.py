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
    counts = {"supported": 6, "contradicted": 2, "no effect": 1, "undecided": 1}
    assert shown.tally == counts
    assert shown.anew == 1
    assert shown.lead is None


def test_the_readme_and_the_first_page_say_the_same():
    lead = (headlines.LEAD, "supported", 0.02, 0.04)
    every = known(lead, ("bad", "contradicted", -0.03, -0.02))
    text = headlines.front_text(every)
    assert "](plots/06_x/rates.png)](notebooks/06_x.ipynb#A-(Q1.1))" in text
    assert "*supported*, +3.00 points (95 % interval +2.00 to +4.00 points; 3" in text
    assert text.count("](notebooks/06_x.ipynb#A-(Q1.1)): *") == 2
    for verdict, count in headlines.front(every).tally.items():
        assert verdict in text
        assert f"[{count}]({headlines.EVERY})" in text


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
    long = pixels(front.cropped(png("red", height=5000)))
    assert long.shape[0] < long.shape[1]


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
