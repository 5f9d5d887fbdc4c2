# ruff: noqa: E402, E501 (threads are set before NumPy starts them; the texts of the page are as long as they are)
"""Inputs on which solvers and differentiable layers are wrong without a word: what each library returns, and what is right.

    python docs/adversarial.py            writes docs/adversarial.md
    python docs/adversarial.py face kink  prints only the cases whose name has one of the words

Nothing is remembered: every library that is installed is run, each in a process of its own (one that dies is started
again behind the case that killed it), with the settings a user gets. The cases, and what is right: adversarial_cases.py;
how each library is asked: adversarial_libraries.py.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from adversarial_cases import cases, vector
from adversarial_libraries import LIBRARIES

LIMIT = 120  # seconds for a case in a library


def plain(v):
    return (
        v.tolist()
        if isinstance(v, np.ndarray)
        else float(v)
        if isinstance(v, np.floating)
        else bool(v)
        if isinstance(v, np.bool_)
        else v
    )


def child(library, names):
    for case in cases():
        if case.name not in names:
            continue
        print(json.dumps(dict(begin=case.name)), flush=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                out = LIBRARIES[library][1](case)
            except Exception as e:
                out = dict(error=f"{type(e).__name__}: {e}".split("\n")[0][:90])
        told = [w for w in caught if issubclass(w.category, UserWarning) and "deprecat" not in str(w.message).lower()]
        if told and not out.get("flag"):
            out.update(flag=True, says=str(told[0].message).split("\n")[0][:90])
        print(json.dumps(dict(case=case.name, **{k: plain(v) for k, v in out.items()})), flush=True)


def ask(library, names):
    """What a library says to these cases; a death is an answer too."""
    found, left = {}, list(names)
    while left:
        command = [sys.executable, __file__, "--child", library, *left]
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        end, current = time.monotonic() + LIMIT * len(left), None
        try:
            text, _ = p.communicate(timeout=max(LIMIT, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            p.kill()
            text, _ = p.communicate()
        for line in text.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library that prints
            if "begin" in said:
                current = said["begin"]
            elif "case" in said:
                found[said["case"]], current = said, None
        if current is not None:
            found[current] = dict(error=f"the process ended with code {p.returncode}")
        before, left = len(left), [n for n in left if n not in found]
        if len(left) == before:
            found.update({n: dict(error="the library did not start") for n in left})
            left = []
    return found


def outcome(case, said):
    if said.get("skip"):
        return "-"
    if "error" in said:
        return "says so" if case.flag else "refuses"
    x = np.array(said["x"], float)
    if case.batch is None and not np.isfinite(x).all():
        return "NaN"
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if case.right(said):
            return "right"
    return "flagged" if said.get("flag") else "**wrong**"


def show(said):
    if "error" in said:
        return said["error"].replace("|", "/")
    text = "x = " + vector(said["x"])
    if said.get("used") is not None:
        text += f", used {said['used']:.6g}"
    if said.get("gradient") is not None:
        text += ", gradient " + vector(said["gradient"])
    return text + (f"; {said['says']}" if said.get("says") else "").replace("|", "/")


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(words):
    chosen = [c for c in cases() if not words or any(w in c.name for w in words)]
    names = [c.name for c in chosen]
    libraries = [name for name, (package, _) in LIBRARIES.items() if installed(package)]
    said = {library: ask(library, names) for library in libraries}
    result = {(c.name, library): outcome(c, said[library][c.name]) for c in chosen for library in libraries}
    out = [
        "# Adversarial inputs",
        "",
        "Small programs on which solvers and differentiable layers go wrong, what is right (computed in exact fractions or from a closed",
        "form), and what each library returned with the settings a user gets. Written by `python docs/adversarial.py`, which runs them all:",
        ", ".join(f"{name} {installed(LIBRARIES[name][0])}" for name in libraries)
        + ". Solvers of QPs are called through qpsolvers; Clarabel",
        "and SCS through CVXPY where the program has curved cones; diffcp gets a QP as a second-order cone program.",
        "",
        "- *right*: the numbers are right, and where no derivative exists the answer says that it is one of several.",
        "- *says so*, *refuses*: an error, or a status without numbers; *says so* where that is the right answer.",
        "- *flagged*: numbers that are not right, with a warning or a verdict that says so. *NaN*: no number, and no word.",
        "- **wrong**: another number, without a word. -: cannot be stated there.",
        "",
        "| case | " + " | ".join(libraries) + " |",
        "| --- |" + " --- |" * len(libraries),
    ]
    out += [f"| [{c.name}](#{c.name}) | " + " | ".join(result[c.name, k] for k in libraries) + " |" for c in chosen]
    counts = [sum(result[c.name, k] in ("**wrong**", "NaN") for c in chosen) for k in libraries]
    out += ["| wrong or NaN | " + " | ".join(map(str, counts)) + " |"]
    for c in chosen:
        out += [
            "",
            f"## {c.name}",
            "",
            f"{c.kind[0].upper()}{c.kind[1:]}: {c.text}.",
            "",
            f"Right: {c.answer}.",
            "",
            "| library | returned | |",
            "| --- | --- | --- |",
        ]
        out += [
            f"| {k} | {show(said[k][c.name])} | {result[c.name, k]} |"
            for k in libraries
            if not said[k][c.name].get("skip")
        ]
    text = "\n".join(out) + "\n"
    if words:
        print(text)
    else:
        Path(__file__).with_name("adversarial.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        main(sys.argv[1:])
