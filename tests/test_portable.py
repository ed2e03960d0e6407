"""What `make portable` reads out of pytest's last words."""

import subprocess

import pytest

from tools import portable

OUTPUT = """
..F                                                                       [100%]
=================== tables that differ from plots/ ===================
06/rates.csv: '3' in column 'rate', row 0, was '30'
07/verdicts.csv was not saved
=========================== short test summary info ============================
FAILED notebooks/06_benefits_on_trial.ipynb::Cell 20 - \x1b[91mNotebook cell
FAILED notebooks/08_convolutions_and_resnets.ipynb::Cell 5
2 failed, 1 passed in 3.00s
"""


def test_every_cell_and_table_that_differs_is_named():
    assert portable.differences(OUTPUT) == [
        "notebooks/06_benefits_on_trial.ipynb::Cell 20",
        "notebooks/08_convolutions_and_resnets.ipynb::Cell 5",
        "06/rates.csv: '3' in column 'rate', row 0, was '30'",
        "07/verdicts.csv was not saved",
    ]
    assert portable.differences("3 passed in 3.00s") == []


@pytest.mark.parametrize(
    ("output", "code", "ends"),
    [("3 passed", 0, ""), (OUTPUT, 1, "differences"), ("no tests ran", 4, "not run")],
)
def test_exit_says_whether_anything_differs(output, code, ends, monkeypatch, capsys):
    given = []

    def run(command, env, **_):
        given.append((command, env))
        return subprocess.CompletedProcess(command, code, output)

    monkeypatch.setattr(portable.subprocess, "run", run)
    monkeypatch.setattr(portable.shutil, "which", lambda name: name)
    if ends:
        with pytest.raises(SystemExit, match=ends):
            portable.main()
    else:
        portable.main()
    commands = [" ".join(command) for command, _ in given]
    assert "--nbval" in commands[0]
    assert "SSE4_2" in given[0][1]["XLA_FLAGS"]
    if len(commands) == 3:
        assert commands[2].startswith("taskset -c 0 ")
        assert "no difference" in capsys.readouterr().out or code
