"""What a reader of a notebook meets: its first screen, its captions, its sentences."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from helpers import claims
from tools import headlines, notebooks

ROOT = Path(__file__).resolve().parent.parent
PATHS = notebooks.find(ROOT / "notebooks")
ON_TRIAL = {claim.notebook for claim in claims.registry().claims.values()}

PICTURE = re.compile(r"!\[([^]]*)\]\((\.\./plots/[\w/.-]+\.png)\)")
LONGEST = 40  # words of a sentence; what is longer is two sentences


@pytest.fixture(params=PATHS, ids=lambda path: path.stem, scope="module")
def path(request):
    return request.param


@pytest.fixture(scope="module")
def nb(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def opening(nb):
    """The first text of a notebook, which is its first screen."""
    assert nb.cells[0].cell_type == "markdown"
    return nb.cells[0].source


def calls(nb) -> list[tuple[int, ast.Call]]:
    """Return every call of a notebook's code, with the number of its cell."""
    return [
        (number, node)
        for number, cell in enumerate(notebooks.code_cells(nb), 1)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call)
    ]


# --- the first screen ----------------------------------------------------------------


def test_it_opens_with_question_answer_number_figure_and_prediction(path, opening):
    lines = opening.splitlines()
    assert lines[0].startswith("# ")
    assert lines[2].startswith("*Answers ")
    places = ["\n# ", "\n*Answers ", "\n**In short.** "]
    if path.stem in ON_TRIAL:
        places.append("\n<!-- on record: ")
    places += ["\n![", "\n**Predict before you read on"]
    found = [f"\n{opening}".find(place) for place in places]
    assert -1 not in found, dict(zip(places, found, strict=True))
    assert found == sorted(found), "not in this order"
    # Between *Answers* and the answer stands the question.
    question = opening.partition("*Answers")[2].partition("**In short.**")[0]
    assert "?" in question.partition("\n")[2]


def test_it_has_one_picture_with_a_caption_under_it(path, opening):
    assert opening.count("![") == 1
    ((alt, place),) = PICTURE.findall(opening)
    assert len(alt) >= 40
    assert (path.parent / place).is_file(), place
    after = opening.partition(place)[2].partition("\n")[2].strip()
    caption = re.match(r"\*([^*].{20,}?)\*(?=\n|$)", after)
    assert caption, "no line in italics follows the picture"
    assert caption[1] != alt


def test_its_number_is_what_is_on_record(path, opening):
    keys = [key for _, key, _ in headlines.KEY_NUMBER.findall(opening)]
    assert len(keys) == opening.count("<!-- on record:") <= 1
    if path.stem in ON_TRIAL:
        (key,) = keys
        assert claims.registry().claims[key].notebook == path.stem
    known = claims.results()
    assert headlines.with_key_numbers(opening, known) == opening, "run make refresh"


def test_code_that_only_sets_up_is_folded_away(nb):
    cells = notebooks.code_cells(nb)
    at = next(i for i, c in enumerate(cells) if "set-up" in c.metadata.get("tags", []))
    assert at == 0
    imports = cells[1]
    assert re.match(r"(import|from) ", imports.source)
    for cell in (cells[0], imports):
        assert cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source[:40]


# --- figures -------------------------------------------------------------------------


def test_every_image_is_followed_by_its_caption(nb):
    for number, cell in enumerate(notebooks.code_cells(nb), 1):
        for output, after in pairwise([*cell.outputs, {}]):
            if "image/png" not in output.get("data", {}):
                continue
            told = output.metadata.get("image/png", {})
            caption = told.get("caption", "")
            assert len(caption) >= 20, f"an image of code cell {number}"
            assert caption != told["alt"], f"code cell {number}"
            assert after.get("metadata", {}).get("is_caption"), f"code cell {number}"
            assert after["data"]["text/markdown"] == f"*{caption}*"


def test_every_figure_is_shown_with_alt_text_and_caption(nb):
    needed = {"show": 4, "show_again": 3}
    for number, call in calls(nb):
        name = ast.unparse(call.func).removeprefix("showing.")
        if name in needed and ast.unparse(call.func) != name:
            given = [*call.args, *call.keywords]
            assert len(given) == needed[name], f"{name} in code cell {number}"


# --- plain code, plain English -------------------------------------------------------


def test_code_is_written_the_plain_way(nb):
    for number, call in calls(nb):
        for given in (*call.args, *(keyword.value for keyword in call.keywords)):
            walrus = [n for n in ast.walk(given) if isinstance(n, ast.NamedExpr)]
            assert not walrus, f"a walrus inside a call, in code cell {number}"
    for number, cell in enumerate(notebooks.code_cells(nb), 1):
        assert "-(-" not in cell.source, f"math.ceil is meant, in code cell {number}"


def sentences(text: str) -> list[str]:
    """Return the sentences of a text in Markdown; formulas and links as one word."""
    text = text.partition("## References")[0]
    text = headlines.KEY_NUMBER.sub("", text)
    text = re.sub(r"(?s)<!--.*?-->|^```.*?^```", "", text, flags=re.MULTILINE)
    text = re.sub(r"(?s)\$\$.*?\$\$|\$[^$]+\$", "x", text)
    text = re.sub(r"!\[[^]]*\]\([^)]*\)", "", text)  # alt texts are not read along
    text = re.sub(r"\[([^]]*)\]\((?:[^()]|\([^)]*\))*\)", r"\1", text)
    parts = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*>#|]|\d+\.) ?)", text):
        if not block.startswith("|"):  # tables have no sentences
            line = " ".join(block.split())
            parts += re.split(r"(?<=[.!?])[*”)]* +(?=[A-Z*“(])", line)
    return parts


def test_no_sentence_is_so_long_that_one_reads_it_twice(nb):
    texts = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    for sentence in (s for text in texts for s in sentences(text)):
        words = re.findall(r"[^\W\d_]\S*", sentence)
        assert len(words) <= LONGEST, f"{len(words)} words: {sentence}"


def test_sentences_are_told_apart():
    text = (
        "One *word*. Two, in [a link](x.ipynb#(Q1)): $x. Y$ counts! “Three” (3.5 %).\n"
        "\n![An alt. Text](../plots/a.png)\n*Four*\n\n- Five\n- six\n\n| a. B |\n"
        "\n<!-- No. One -->\n\n$$\nx. Y\n$$\n\n## References\n\n- A. B"
    )
    found = [sentence for sentence in sentences(text) if sentence]
    assert found == [
        *("One *word*.", "Two, in a link: x counts!", "“Three” (3.5 %).", "*Four*"),
        *("- Five", "- six", "x"),
    ]
