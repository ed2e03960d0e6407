"""What the notebooks save is whole or unchanged, and lands where it should."""

import errno
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import files


def disk_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*_):
    raise KeyboardInterrupt


@contextmanager
def room_for_three_bytes():
    """Let the system refuse to write more than three bytes into a file."""
    resource = pytest.importorskip("resource", reason="not on Windows")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_makes_and_replaces_a_file(tmp_path):
    path = tmp_path / "table.csv"
    for content in (b"first, longer", b"second"):
        files.write(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o444 == 0o444  # not the private mode of mkstemp


@pytest.fixture(params=[b"old", None], ids=["old file", "no file"])
def target(request, tmp_path):
    """Give the path of a file, there already or not, that must stay as it is."""
    path = tmp_path / "table.csv"
    before = [] if request.param is None else [request.param]
    for content in before:
        path.write_bytes(content)
    yield path
    assert [file.read_bytes() for file in tmp_path.iterdir()] == before


def test_a_write_cut_short_changes_nothing(target):
    with (
        room_for_three_bytes(),
        pytest.raises(OSError, match=r"cannot save table\.csv .*too large"),
    ):
        files.write(target, b"new content")


def test_a_full_disk_changes_nothing(target, monkeypatch):
    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(OSError, match=r"cannot save table\.csv .*No space") as caught:
        files.write(target, b"new content")
    assert caught.value.errno == errno.ENOSPC


def test_an_interrupt_changes_nothing(target, monkeypatch):
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(target, b"new content")


def test_plots_go_below_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_PLOTS", str(tmp_path / "scratch"))
    for _ in range(2):  # the second time it is there
        folder = files.plots("03_mnist")
        assert folder == tmp_path / "scratch" / "03_mnist"
        assert folder.is_dir()


@pytest.mark.parametrize("value", [None, ""])
def test_plots_go_into_the_repository_by_default(tmp_path, monkeypatch, value):
    monkeypatch.delenv("BN_PLOTS", raising=False)
    if value is not None:
        monkeypatch.setenv("BN_PLOTS", value)
    assert Path(__file__).resolve().parent.parent == files.ROOT
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert files.plots("03_mnist") == tmp_path / "plots" / "03_mnist"


def test_records_are_those_of_the_repository_or_of_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv("BN_RECORDS", raising=False)
    monkeypatch.setenv("BN_PLOTS", str(tmp_path))  # where tests write, not read
    assert files.records() == files.ROOT / "plots"
    monkeypatch.setenv("BN_RECORDS", str(tmp_path / "run"))
    assert files.records() == tmp_path / "run"


def test_a_folder_that_is_missing_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("nowhere", "file"):
        with pytest.raises(OSError, match="make the folder or allow writing"):
            files.write(tmp_path / place / "x", b"1")
