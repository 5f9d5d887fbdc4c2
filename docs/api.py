"""Writes docs/api/*.md from the docstrings of the Python package; a test demands that they are current.

python docs/api.py
"""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpqp

FOLDER = Path(__file__).parent / "api"


def modules() -> Iterator[ModuleType]:
    """The package and its public modules."""
    yield bpqp
    for info in pkgutil.walk_packages(bpqp.__path__, "bpqp."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            module = importlib.import_module(info.name)
            if info.ispkg or hasattr(module, "__all__"):
                yield module


def text(thing: Any) -> str:
    """The docstring in Markdown: formulas and argument lists, which are indented there, become blocks and lists."""
    out: list[str] = []
    inside = ""  # what an indented line belongs to: a section ("Args:") or nothing
    for line in (inspect.getdoc(thing) or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Raises):", line):
            out += [f"**{line[:-1]}**", ""]
            inside = line
        elif inside and (entry := re.match(r"    ([\w, ]+): (.*)", line)):
            out.append(f"- `{entry[1]}`: {entry[2]}")
        elif inside and line.startswith("    "):
            out.append(f"  {line.strip()}")
        else:
            if line and not line.startswith(" "):
                inside = ""
            out.append(line)
    return "\n".join(out)


def signature(thing: Any) -> str:
    """The arguments; nothing for a class whose objects only this package makes, and for an enumeration."""
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        return ""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    parts = [p for name, p in found.parameters.items() if name != "self"]
    if any("_bpqp." in str(p.annotation) for p in parts):
        return ""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parts]
    line = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r"<[^>]*? at 0x[^>]*>|<factory>", "...", line)


def entry(name: str, thing: Any, level: str) -> Iterator[str]:
    """A heading, the signature and the docstring; for a class also its public methods and properties."""
    if not (inspect.isclass(thing) or callable(thing)):
        return
    yield f"{level} `{name}{'' if is_error(thing) else signature(thing)}`"
    yield text(thing)
    if inspect.isclass(thing) and not is_error(thing):
        for member, value in vars(thing).items():
            if member.startswith("_") or not value.__doc__:
                continue
            if isinstance(value, property):
                yield f"{level}# `{name}.{member}`"
                yield text(value)
            elif inspect.isfunction(value):
                yield from entry(f"{name}.{member}", value, f"{level}#")


def is_error(thing: Any) -> bool:
    """True for the exceptions, whose constructors nobody calls."""
    return inspect.isclass(thing) and issubclass(thing, Exception)


def pages() -> dict[str, str]:
    """The file names and texts of all pages."""
    out = {}
    for module in modules():
        public = [(name, getattr(module, name)) for name in getattr(module, "__all__", []) if not name.startswith("__")]
        blocks = [f"# `{module.__name__}`", text(module)]
        for name, thing in public:
            blocks += entry(name, thing, "##")
        made = "Made from the docstrings by `python docs/api.py`."
        out[f"{module.__name__}.md"] = "\n\n".join([*blocks, made]) + "\n"
    return out


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, content in pages().items():
        (FOLDER / name).write_text(content, "utf-8")
