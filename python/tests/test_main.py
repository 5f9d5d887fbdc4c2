"""`python -m bpqp`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import bpqp.__main__ as program
import pytest


def test_check_tells_of_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["check"]) == 0, capsys.readouterr().out
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bpqp ") and len(lines) == 1 + len(program.PARTS)
    for name, line in zip(program.PARTS, lines[1:], strict=True):
        state = "absent" if importlib.util.find_spec(name) is None else "ok"
        assert line.split()[:2] == [state, name if state == "ok" else f"{name}:"], line


def test_a_part_that_fails_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("no way")

    monkeypatch.setattr(program, "PARTS", {"numpy": broken})
    assert program.main(["check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"] and found["parts"][0]["text"] == "RuntimeError: no way"


def test_misuse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # whether or not an earlier run has installed it
    monkeypatch.setattr(program.shutil, "which", lambda *_, **__: None)
    assert program.main([]) == 2 and program.main(["--help"]) == 0
    assert program.main(["solve", "x.json"]) == 2
    assert "not installed" in capsys.readouterr().err
    out = subprocess.run([sys.executable, "-m", "bpqp", "--help"], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("usage")
