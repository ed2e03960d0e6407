"""What must hold of the files as they are committed."""

import ast
import base64
import hashlib
import re
import subprocess
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from helpers import claims
from tools import headlines
from tools import notebooks as tools_notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MARKDOWN = [
    *ROOT.glob("*.md"),
    *(ROOT / "assignment").glob("*.md"),
    ROOT / "data" / "README.md",
]
PLOTS = [path for path in (ROOT / "plots").rglob("*") if path.is_file()]
REGISTERED = claims.registry().claims

LOCAL_PATH = re.compile(r"/(?:root|tmp|work|home/\w+|Users/\w+)/|[A-Z]:\\+Users")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.org|--(?:extra-)?index-url")
MEASURED = re.compile(r"\b0\.\d{3,}\b|\b\d{2}\.\d+ ?%")
# By a tool, between two marks; and what is quoted.
WRITTEN = re.compile(r"^<!-- [^>]+-->$[\s\S]*?^<!-- end of|^>.*$", re.MULTILINE)
LINK = re.compile(r"\]\(<?([^)#>\s]+)|(?:href|src)=\"([^\"#]+)")
HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$", re.MULTILINE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem, scope="module")
def path(request):
    return request.param


@pytest.fixture(scope="module")
def nb(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=[*NOTEBOOKS, *MARKDOWN], ids=lambda path: path.name)
def document(request):
    """A file with text, and that text."""
    file = request.param
    if file.suffix == ".ipynb":
        return file, prose(nbformat.read(file, as_version=4))
    return file, file.read_text(encoding="utf-8")


def prose(nb) -> str:
    cells = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    return "\n\n".join(cells)


def headings(nb) -> list[tuple[int, str]]:
    text = re.sub(r"(?ms)^```.*?^```", "", prose(nb))
    return [(len(marks), title) for marks, title in HEADING.findall(text)]


def code(nb) -> list:
    return [
        cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()
    ]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def texts(cell) -> str:
    """Return all text a cell's outputs show, HTML and tracebacks included."""
    parts = []
    for output in cell.outputs:
        parts += [output.get("text", ""), *output.get("traceback", [])]
        parts += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return "\n".join(parts)


def test_notebook_was_executed_once_in_order(nb):
    counts = [cell.execution_count for cell in code(nb)]
    assert counts
    assert counts == list(range(1, len(counts) + 1))


def test_notebook_follows_the_skeleton(nb):
    levels = [level for level, _ in headings(nb)]
    titles = [title for _, title in headings(nb)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    jumps = [b for a, b in zip(levels, levels[1:], strict=False) if b > a + 1]
    assert not jumps, "a heading skips a level"
    assert re.search(r"^\*Answers\b", prose(nb), re.MULTILINE), "no *Answers* line"
    assert any("parameters" in tags(cell) for cell in code(nb))
    assert "What we saw" in titles
    assert "References" in titles


def test_code_is_short_enough_to_read(nb):
    for number, cell in enumerate(code(nb), 1):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, f"code cell {number} is long"
        assert max(map(len, lines)) <= 88, f"code cell {number} is wide"
        assert not lines[-1].rstrip().endswith(";"), f"code cell {number} ends in ;"


def test_outputs_are_clean(nb):
    for number, cell in enumerate(code(nb), 1):
        for output in cell.outputs:
            allowed = "raises-exception" in tags(cell)
            assert output.output_type != "error" or allowed, f"error in cell {number}"
            assert output.get("name") != "stderr", f"stderr in code cell {number}"
        assert "Warning" not in texts(cell), f"a warning in code cell {number}"
        assert not LOCAL_PATH.search(texts(cell)), f"a local path in cell {number}"


def test_images_have_alt_text(nb):
    for number, cell in enumerate(code(nb), 1):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt) >= 30, f"an image of code cell {number}: {alt!r}"


def test_pictures_shown_are_the_pictures_saved(path, nb):
    shown = {
        base64.b64decode(output["data"]["image/png"])
        for cell in code(nb)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }
    pictures = {file.read_bytes(): file for file in PLOTS if file.suffix == ".png"}
    stale = "plots/ and the notebook disagree: run make refresh"
    assert shown <= set(pictures), stale
    own = {png for png, file in pictures.items() if file.parent.name == path.stem}
    assert own <= shown, stale


def test_at_least_half_of_the_text_outputs_are_compared(nb):
    with_text = [cell for cell in code(nb) if texts(cell).strip()]
    free = [c for c in with_text if tags(c) & {"nbval-ignore-output", "nbval-skip"}]
    assert len(free) <= len(with_text) / 2


def test_notebook_is_small(path):
    assert path.stat().st_size <= 1_500_000


def test_links_and_images_resolve(document):
    file, text = document
    for link in ("".join(pair) for pair in LINK.findall(text)):
        if not re.match(r"\w+:", link):
            assert (file.parent / link).exists(), f"{file.name} links to {link}"
    assert not re.search(r"!\[\s*\]|<img(?![^>]*alt=)", text), "an image without alt"


def test_prose_has_no_measured_number_and_no_bm(document):
    _, text = document
    typed = WRITTEN.sub("", text)
    assert not MEASURED.search(typed), "a number that looks measured, typed by hand"
    assert not re.search(r"\\bm\b", text), r"MathJax lacks \bm: write \boldsymbol"


def test_readme_pictures_come_from_plots():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)\s]+)|<img[^>]*src=\"([^\"]+)", readme)
    assert all("".join(pair).startswith("plots/") for pair in pictures)


def test_plots_belong_to_a_notebook():
    owners = {path.stem for path in NOTEBOOKS} | {"bench", "report"}
    assert {path.relative_to(ROOT / "plots").parts[0] for path in PLOTS} <= owners


def tried(nb) -> list[tuple[str, str]]:
    """Return each registered key that is tried, with the section it stands in."""
    found, section = [], ""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if re.match(r"#+ ", line):
                    section = line.lstrip("#").strip()
            continue
        strings = [
            node.value
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if "trials(" in cell.source:
            keys = [text for text in strings if text in REGISTERED]
            found += [(key, section) for key in keys]
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_registered_claim_is_tried_once_in_the_section_it_names(path):
    found = tried(nbformat.read(path, as_version=4))
    expected = {
        (claim.key, claim.section)
        for claim in REGISTERED.values()
        if claim.notebook == path.stem
    }
    assert len(set(found)) == len(found), "a claim is tried twice"
    assert set(found) == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_tried_is_what_is_registered_for_it(path):
    saved = ROOT / "plots" / path.stem / "effects.csv"
    expected = [key for key, c in REGISTERED.items() if c.notebook == path.stem]
    if not expected:
        assert not saved.exists()
        return
    assert pd.read_csv(saved)["claim"].unique().tolist() == expected


def test_the_record_is_of_registered_claims_and_its_verdicts_are_derived():
    effects = claims.read_effects(ROOT / "record/effects.csv")
    places = effects[["claim", "notebook"]].drop_duplicates()
    for claim, notebook in places.itertuples(index=False):
        assert REGISTERED[claim].notebook == notebook
        assert REGISTERED[claim].unit != claims.MEASURED_ANEW
    derived = claims.judge(effects, claims.registry())
    stored = pd.read_csv(ROOT / "record/verdicts.csv")
    pd.testing.assert_frame_equal(derived, stored, check_dtype=False)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tally_of_verdicts_counts_every_claim_of_its_notebook(path):
    expected = [
        claim
        for claim in REGISTERED.values()
        if claim.notebook == path.stem and claim.unit != claims.MEASURED_ANEW
    ]
    for cell in code(nbformat.read(path, as_version=4)):
        if 'claims.results("' in cell.source and "value_counts" in cell.source:
            counts = re.findall(r"^[a-z ]+?  +(\d+)$", texts(cell), re.MULTILINE)
            assert sum(map(int, counts)) == len(expected)


def test_who_reads_others_says_so():
    for path in NOTEBOOKS:
        nb = nbformat.read(path, as_version=4)
        source = "\n".join(cell.source for cell in code(nb))
        others = {other.stem for other in NOTEBOOKS if other != path}
        reads = any(f'"{other}"' in source or f"plots/{other}" in source
                    for other in others)  # fmt: skip
        every = "claims.results()" in source or "claims.sentences()" in source
        assert (reads or every) == tools_notebooks.reads_record(nb), path.name


def test_data_are_what_their_checksums_say():
    sums = (ROOT / "data" / "SHA256SUMS").read_text().splitlines()
    listed = {name.lstrip("*"): digest for digest, name in map(str.split, sums)}
    stored = {str(p.relative_to(ROOT / "data")) for p in (ROOT / "data").rglob("*.gz")}
    assert set(listed) == stored
    for name, digest in listed.items():
        content = (ROOT / "data" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name


def test_nothing_committed_names_this_machine():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git clone")
    for name in filter(None, listing.stdout.split("\0")):
        file = ROOT / name
        if not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # no text: a picture, or an archive
            continue
        if file.suffix == ".ipynb":  # their images are base64, where anything occurs
            cells = nbformat.reads(text, as_version=4).cells
            text = "\n".join(cell.source for cell in cells)
        for pattern in (LOCAL_PATH, REGISTRY):
            assert not pattern.search(text), f"{name}: {pattern.search(text)[0]}"


def test_every_constraint_is_exact():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if not re.match(r"[\w.-]+==[\w.]+( ;.*)?$", pin)] == []


def test_readme_names_the_platforms_that_work():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = readme.partition("\nYou need Python ")[2].partition("\n\n")[0]
    for name in ("Linux", "Macs", "Intel", "Windows", "WSL", "Colab"):
        assert name in said


def test_readme_shows_the_headlines_on_record():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition(headlines.START)[2].partition(headlines.END)[0]
    assert shown.strip() == headlines.table(), "run make refresh"


def test_readme_opens_with_what_is_on_record():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start, end = headlines.FRONT
    before, _, rest = readme.partition(start)
    last = nbformat.read(ROOT / f"notebooks/{headlines.LAST}.ipynb", as_version=4)
    opening = headlines.front_text(claims.results(), headlines.conclusion(last))
    assert rest.partition(end)[0].strip() == opening, "run make refresh"
    assert "\n## " not in before
    for link in (headlines.EVERY, headlines.ASKED):
        notebook, _, anchor = link.partition("#")
        nb = nbformat.read(ROOT / notebook, as_version=4)
        assert anchor in {title.replace(" ", "-") for _, title in headings(nb)}


def test_the_verdict_table_holds_every_claim_once_with_a_link_to_its_section():
    nb = nbformat.read(ROOT / "notebooks/11_verdict.ipynb", as_version=4)
    pages = [
        output["data"]["text/html"]
        for cell in code(nb)
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    links = {
        link.get_text(): link["href"]
        for link in BeautifulSoup("".join(pages), "html.parser").select(
            "#T_all_verdicts td a"
        )
    }
    known = claims.results().set_index("statement")
    assert links == known["link"].to_dict()
    shown = pd.read_csv(ROOT / "plots/11_verdict/all_verdicts.csv")
    shown = shown.set_index("claim")["verdict"]
    assert shown.to_dict() == known["verdict"].to_dict()


# --- what is said in two places ------------------------------------------------------

QUESTIONS = [
    *("Q1.1", "Q1.2", "Q1.3"),
    *("Q2.1", "Q2.2", "Q2.3", "Q2.4", "Q2.5", "Q2.6"),
    *("Q3.1", "Q3.2"),
]
NUMBERS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "twenty": 20},
    **{"thirty": 30, "forty": 40, "fifty": 50},
}


def questions(text: str) -> set[str]:
    """Return the questions a text names: Q2 is all of its parts, Q1.1–Q1.3 a range."""
    if text.strip() == "all":
        return set(QUESTIONS)
    found = set()
    for first, last in re.findall(r"(Q\d(?:\.\d)?)(?:–(Q\d\.\d))?", text):
        found |= {question for question in QUESTIONS if question.startswith(first)}
        if last:
            ends = QUESTIONS.index(first), QUESTIONS.index(last)
            found |= set(QUESTIONS[ends[0] : ends[1] + 1])
    return found


def mapped() -> dict[str, tuple[str, str]]:
    """Return what README's map says each notebook answers, and shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = r"^\| \[[^]]+\]\(notebooks/(\w+)\.ipynb\) \| ([^|]+) \| ([^|]+) \|$"
    return {name: told for name, *told in re.findall(row, readme, re.MULTILINE)}


def registered_for(notebook: str) -> list[str]:
    return [key for key, c in REGISTERED.items() if c.notebook == notebook]


def test_questions_are_read_as_ranges():
    assert questions("Q1 and Q3.2") == {"Q1.1", "Q1.2", "Q1.3", "Q3.2"}
    assert questions("Q2.5–Q3.1 (4 to 7)") == {"Q2.5", "Q2.6", "Q3.1"}
    assert questions("all") == questions("Q1.1–Q3.2") == set(QUESTIONS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_readmes_map_names_the_questions_that_a_notebook_says_it_answers(path):
    text = prose(nbformat.read(path, as_version=4))
    line = re.search(r"^\*Answers .+$", text, re.MULTILINE)[0]
    answers, _ = mapped()[path.stem]
    assert questions(answers) == questions(line), line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_readmes_map_counts_the_verdicts_of_the_registry(path):
    _, shows = mapped()[path.stem]
    for over, word in re.findall(r"\b(over )?(\w+) verdicts\b", shows):
        if word in NUMBERS:
            count = len(registered_for(path.stem))
            assert count > NUMBERS[word] if over else count == NUMBERS[word]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_counts_the_verdicts_on_record(path):
    """Where one prints a count of its verdicts, nothing is left out but time."""
    known = claims.results()
    if path.stem != "11_verdict":  # which counts all
        known = known[known["notebook"] == path.stem]
    known = known[known["unit"] != claims.MEASURED_ANEW]
    for cell in code(nbformat.read(path, as_version=4)):
        row = rf"^({'|'.join(claims.VERDICT_COLOURS)}) +(\d+)$"
        counted = re.findall(row, texts(cell), re.MULTILINE)
        if "claims.results(" in cell.source and counted:
            found = {verdict: int(count) for verdict, count in counted}
            assert found == known["verdict"].value_counts().to_dict()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_where_a_notebook_says_a_verdict_it_is_the_one_on_record(path):
    """In texts, cards and tables: a claim's statement, and a verdict in its line."""
    known = claims.results()
    known = known[known["unit"] != claims.MEASURED_ANEW]
    verdicts = known.set_index("statement")["verdict"]
    longest_first = sorted(verdicts.index, key=len, reverse=True)
    statement = re.compile("|".join(map(re.escape, longest_first)))
    word = re.compile("|".join(claims.VERDICT_COLOURS))
    said = 0
    for cell in nbformat.read(path, as_version=4).cells:
        shown = cell.source
        if cell.cell_type == "code":
            plain = [o.get("data", {}).get("text/plain", "") for o in cell.outputs]
            shown = "\n".join(plain)
        for line in shown.splitlines():
            claim = statement.search(line)
            verdict = claim and word.search(line, claim.end())
            if verdict:
                said += 1
                assert verdict[0] == verdicts[claim[0]], line
    tried_here = [key for key in registered_for(path.stem) if key in known.index]
    primary = sum(claim.primary for claim in REGISTERED.values())
    least = {"00_start_here": primary, "11_verdict": len(known)}
    assert said >= least.get(path.stem, len(tried_here))


def test_every_primary_claim_is_among_readmes_headlines():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition(headlines.START)[2].partition(headlines.END)[0]
    known = claims.results()
    primary = known[known["primary"]]
    assert 10 <= len(primary) <= 15
    for row in primary.itertuples():
        (line,) = [line for line in shown.splitlines() if f"[{row.statement}](" in line]
        assert f"(notebooks/{row.link})" in line
        assert row.verdict in line


def test_the_theory_gives_each_sentence_the_answer_on_record():
    nb = nbformat.read(ROOT / "notebooks/01_theory.ipynb", as_version=4)
    (heading,) = (
        index
        for index, cell in enumerate(nb.cells)
        if cell.cell_type == "markdown" and "\n## 11. " in cell.source
    )
    known = claims.results()
    for name in ("benefits", "limits"):
        (cell,) = [c for c in nb.cells[heading:] if c.source.startswith(f"{name} = [")]
        said = ast.literal_eval(cell.source.partition("=")[2].partition("#")[0].strip())
        shown = pd.read_csv(ROOT / f"plots/01_theory/{name}.csv", index_col=0)
        assert [words for words, _, _ in said] == shown.index.tolist()
        for words, sentence, _ in said:
            own = known[known["sentence"] == sentence]
            verdicts = own.loc[own["unit"] != claims.MEASURED_ANEW, "verdict"]
            answer = shown.loc[words, "stands?"]
            assert answer == claims.stands(verdicts), "run make refresh"
    (rest,) = [c for c in nb.cells[heading:] if "no verdict on record" in c.source]
    assert re.search(r"not tried here; see \[[^]]+\]\(https://", rest.source)


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{path.name}: {node.name}"
        for folder in ("helpers", "tools", "assignment", "tests")
        for path in sorted((ROOT / folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= 59
    ]
    assert not long, f"60 lines or more: {long}: give a part of it a name"
