"""What the site needs beyond its configuration: links to files outside of docs/ lead to the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrites relative links that leave docs/; one to a file that is not there stays, and fails the strict build."""
    folder = posixpath.dirname(posixpath.join("docs", page.file.src_uri))

    def rewrite(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        inside = target.startswith("docs/") and not target.startswith("docs/api/") and not target.endswith(".py")
        if inside or not (ROOT / target).exists():
            return match[0]
        if target.startswith("docs/api/"):
            name = target.removeprefix("docs/api/").removesuffix(".md")
            page_of = {"bpqp": "bpqp", "bpqp.torch": "torch", "bpqp.torch.losses": "losses", "bpqp.jax": "jax"}
            page_of["bpqp.cvxpy"] = "cvxpy"
            there = posixpath.join("docs/reference", page_of.get(name, "compat") + ".md")
            return f"{match[1]}{posixpath.relpath(there, folder)})"
        return f"{match[1]}{config.repo_url}/blob/main/{target}{match[3]}"

    return LINK.sub(rewrite, markdown)
