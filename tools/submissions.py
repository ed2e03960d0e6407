"""Finds the notebooks that students handed in, and their texts in them."""

import io
import json
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from tools import assignment, kept, notebooks

LARGEST = 50 * 2**20  # bytes of a notebook
CELLS = 2_000  # of a notebook
MANY = 10  # notebooks of a student that are looked at
IGNORED = ("__MACOSX", ".ipynb_checkpoints")
HANDED_OUT = {"helpers", "data"}  # folders that are no students
EMPTY = ".folder"  # stands for a folder itself: a student without any file is seen
HEADING = re.compile(r"^#+ .*$", re.MULTILINE)


class UnreadableError(ValueError):
    """What was handed in is no notebook that could be run."""


@dataclass(frozen=True)
class Submission:
    """What a student handed in; without content, the problem says why."""

    student: str
    name: str = ""
    content: bytes = b""
    problem: str = ""
    notebooks: int = 1  # from which it was chosen


@dataclass(frozen=True)
class _File:
    path: PurePosixPath  # below the folder, or the archive, of all submissions
    changed: float | tuple[int, ...]
    size: int
    read: Callable[[], bytes]


def find(place: Path, edition: NotebookNode | None = None) -> list[Submission]:
    """Return one submission a student, in the order of their names.

    Parameters
    ----------
    place : a folder with a folder a student, or a zip of one; one more folder around
        them all does not matter. Of several notebooks in a student's folder, the one
        changed last counts; a notebook in no folder is a student of its name. Links
        are not followed.
    edition : the notebook that was handed out: one that is still like it counts only
        where there is no other.

    Raises
    ------
    ValueError
        If it is neither, or holds no student's folder, or one with our own name, or
        one that cannot be read.
    """
    try:
        files = _files(place)
    except OSError as error:
        raise ValueError(
            f"{error.filename or place} cannot be read ({error.strerror}): allow "
            "reading it, then run again"
        ) from error
    by_student: dict[str, list[_File]] = {}
    for file in _below_common(files):
        if len(file.path.parts) > 1:
            by_student.setdefault(file.path.parts[0], []).append(file)
    if not by_student:
        raise ValueError(
            f"{place.name} holds no submissions: put each student's notebook into a "
            "folder of the student's name"
        )
    if kept.REFERENCE in by_student:
        raise ValueError(
            f"{place.name} has a student called “{kept.REFERENCE}”, as our own results "
            "are: give it another name"
        )
    empty = _sources(nbformat.writes(edition).encode()) if edition else None
    return [_chosen(name, by_student[name], empty) for name in sorted(by_student)]


def _sources(content: bytes) -> list[str] | None:
    """Return the texts of a notebook's cells that are not empty; None of another."""
    try:
        cells = json.loads(content.decode("utf-8-sig"))["cells"]
        texts = ["".join(cell["source"]).replace("\r\n", "\n") for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return [text for text in texts if text.strip()]


def _chosen(student: str, files: list[_File], empty: list[str] | None) -> Submission:
    candidates = [file for file in files if _is_notebook(file.path)]
    if not candidates:
        return Submission(student, problem="no notebook (.ipynb) was handed in")
    candidates.sort(key=lambda file: (file.changed, str(file.path)), reverse=True)
    found = [_opened(student, file) for file in candidates[:MANY]]
    own = [one for one in found if one.problem or _own(one, empty)]
    return replace([*own, *found][0], notebooks=len(own) or 1)


def _own(submission: Submission, empty: list[str] | None) -> bool:
    """Whether a notebook holds anything that was not handed out."""
    return _sources(submission.content) not in ([], empty)


def _opened(student: str, file: _File) -> Submission:
    if file.size > LARGEST:
        return Submission(student, file.path.name, problem="the notebook is too large")
    try:
        return Submission(student, file.path.name, file.read())
    except Exception as error:  # of many kinds: archives are damaged in many ways
        return Submission(student, file.path.name, problem=f"unreadable ({error})")


def _is_notebook(path: PurePosixPath) -> bool:
    hidden = any(part in IGNORED for part in path.parts)
    return path.suffix.lower() == ".ipynb" and path.name[0] != "." and not hidden


def _files(place: Path) -> list[_File]:
    if place.is_dir():
        return list(_in_folder(place))
    if zipfile.is_zipfile(place):
        return list(_in_zip(place))
    raise ValueError(
        f"{place.name or place} is neither a folder nor a zip: name the folder that "
        "holds one folder a student, as in SUBMISSIONS=handed_in"
    )


def _in_folder(place: Path) -> Iterator[_File]:
    for folder in sorted(place.iterdir()):
        if _passed_over(folder.name) or folder.is_symlink():
            continue
        if folder.is_file():
            stat, path = folder.stat(), _alone(PurePosixPath(_name(folder.name)))
            if path:
                yield _File(path, stat.st_mtime, stat.st_size, folder.read_bytes)
            continue
        yield from _below(folder, PurePosixPath(_name(folder.name)))


def _passed_over(name: str) -> bool:
    """Whether a file or folder is a system's own, and no student's."""
    return name in IGNORED or name.startswith(".")


def _alone(path: PurePosixPath) -> PurePosixPath | None:
    """Return where a notebook without a folder would stand in one of its name."""
    return PurePosixPath(path.stem, path.name) if _is_notebook(path) else None


def _below(folder: Path, path: PurePosixPath) -> Iterator[_File]:
    yield _File(path / EMPTY, 0.0, 0, bytes)
    for entry in folder.iterdir():
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _below(entry, path / _name(entry.name))
        elif entry.is_file():
            stat = entry.stat()
            yield _File(
                path / entry.name, stat.st_mtime, stat.st_size, entry.read_bytes
            )


def _in_zip(place: Path) -> Iterator[_File]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(place.read_bytes()))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{place.name} is a damaged zip ({error}): export it again"
        ) from None
    for entry in archive.infolist():
        name = entry.filename
        if not entry.flag_bits & 0x800:  # not said to be UTF-8: often is
            try:
                name = name.encode("cp437").decode("utf-8")
            except UnicodeError:
                name = entry.filename
        path = PurePosixPath(_name(name).replace("\\", "/"))
        parts = [part for part in path.parts if part.strip("/")]
        if not parts or ".." in parts or parts[0] in IGNORED:
            continue
        if entry.is_dir():
            parts.append(EMPTY)
        elif len(parts) == 1:
            if not (alone := _alone(PurePosixPath(parts[0]))):
                continue
            parts = list(alone.parts)

        def read(entry: zipfile.ZipInfo = entry) -> bytes:
            with archive.open(entry) as stream:
                return stream.read(LARGEST + 1)[:LARGEST]

        yield _File(PurePosixPath(*parts), entry.date_time, entry.file_size, read)


def _below_common(files: list[_File]) -> list[_File]:
    """Leave out a folder around all students' folders, as some archives have it."""
    tops = {file.path.parts[0] for file in files}
    inner = [
        f for f in files if len(f.path.parts) > 1 and not _passed_over(f.path.parts[1])
    ]
    folders = {f.path.parts[1] for f in inner if len(f.path.parts) > 2}
    # One student's folder may hold what was handed out, the notebook beside it or not.
    owned = any(len(f.path.parts) == 2 and _is_notebook(f.path) for f in files)
    if len(tops) == 1 and len(folders - HANDED_OUT) > 1 and not owned:
        return [replace(f, path=PurePosixPath(*f.path.parts[1:])) for f in inner]
    return files


def _name(name: str) -> str:
    """Return a name in the form in which equal names are equal, and others are not."""
    try:
        name.encode()
    except UnicodeEncodeError:  # of another age, or system: all stay different
        name = name.encode("utf-8", "surrogatepass").decode("latin-1")
    name = "".join(c if c.isprintable() else f"%{ord(c):02x}" for c in name)
    return unicodedata.normalize("NFC", name)


def _writable(text: str) -> str:
    """Return a text without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def read(submission: Submission) -> NotebookNode:
    """Return a notebook as it can be run: its cells, and nothing else of it.

    Outputs, kernel, widgets and attachments are dropped; line ends become those of
    Unix.

    Raises
    ------
    UnreadableError
        If there is none; says why.
    """
    if submission.problem:
        raise UnreadableError(submission.problem)
    if submission.content.count(b'"cell_type"') > CELLS:
        raise UnreadableError(f"the notebook has more than {CELLS:,} cells")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells that were duplicated
            nb = nbformat.reads(submission.content.decode("utf-8-sig"), as_version=4)
        cells = [_cell(cell) for cell in nb.cells]
    except Exception as error:  # of many kinds: anything may stand in the file
        reason = str(error).strip().partition("\n")[0][:100] or type(error).__name__
        raise UnreadableError(f"the file is no notebook ({reason})") from None
    return notebooks.normalise(nbformat.v4.new_notebook(cells=cells))


def _cell(cell: NotebookNode) -> NotebookNode:
    source = cell.source if isinstance(cell.source, str) else "".join(cell.source)
    source = _writable(source).replace("\r\n", "\n").replace("\r", "\n")
    every = cell.get("metadata", {}).get("tags", [])
    texts = [_writable(tag) for tag in every if isinstance(tag, str)]
    kept = [tag for tag in texts if re.fullmatch(r"[^,]+", tag)]
    makes = {
        "code": nbformat.v4.new_code_cell,
        "markdown": nbformat.v4.new_markdown_cell,
    }
    make = makes.get(cell.cell_type, nbformat.v4.new_raw_cell)
    return make(source, metadata={"tags": list(dict.fromkeys(kept))} if kept else {})


def essays(
    nb: NotebookNode, edition: NotebookNode, ids: Collection[str]
) -> dict[str, str]:
    """Return what a student wrote to each question; empty where nothing.

    An answer is found by the words it begins with or by its cell's tag, in whatever
    kind of cell and place; it goes on in the cells a student added below. Where that
    finds nothing, the student's own text in the question's section counts.
    """
    handed_out = {cell.source.strip() for cell in edition.cells}
    marked: dict[str, list[str]] = {name: [] for name in ids}
    loose: dict[str, list[str]] = {name: [] for name in ids}
    current, section = None, None
    for cell in nb.cells:
        text = cell.source.strip()
        name = _asked(cell, ids)
        for heading in HEADING.findall(text):
            found = [
                name for name in ids if re.search(rf"\b{re.escape(name)}\b", heading)
            ]
            section = found[0] if found else section
        if name is not None:
            current = name
            marked[name].append(_own_words(text, name))
        elif text in handed_out or cell.cell_type == "code":
            current = None
        elif current is not None:
            marked[current].append(text)
        elif section is not None:
            loose[section].append(text)
    return {name: _joined(marked[name]) or _joined(loose[name]) for name in ids}


def _asked(cell: NotebookNode, ids: Collection[str]) -> str | None:
    kinds, named = assignment.tags(cell)
    for name in ids:
        if assignment.ANSWER.format(name).strip("*:") in cell.source:
            return name
    if "essay" in kinds and named.get("id") in ids:
        return named["id"]
    return None


def _own_words(text: str, name: str) -> str:
    for ours in (assignment.ANSWER.format(name), assignment.PLACE):
        for form in (ours, ours.strip("*"), ours.strip("*:")):
            text = text.replace(form, "")
    return text.strip().strip("*").strip()


def _joined(texts: list[str]) -> str:
    return "\n\n".join(dict.fromkeys(text for text in texts if text))
