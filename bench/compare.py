"""Time bpqp beside other differentiable optimization layers, on the same instances, to the same accuracy, in one run.

    python bench/compare.py --out bench/results/qp.json --peers bpqp,moreau,dqp-daqp --instances qp-100x20,qpact-100x20

The benchmark itself (instances, a reference of higher precision, adapters of the peers) is the folder `--harness`; this
script adds the adapter beside it, `bpqp_peer.py`, and hands every other option to its run.py (see `--help-run`).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--harness", type=Path, default=HERE.parent.parent / "shared" / "peers", help="folder of run.py"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "run.json", help="the table goes beside it, as .md"
    )
    parser.add_argument("--help-run", action="store_true", help="the options of the harness")
    own, others = parser.parse_known_args()
    if not (own.harness / "run.py").is_file():
        parser.error(f"no run.py in {own.harness}: name the folder of the benchmark with --harness")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "peers"
        shutil.copytree(own.harness, copy, ignore=shutil.ignore_patterns("results", "__pycache__"))
        shutil.copy(HERE / "bpqp_peer.py", copy / "peers" / "bpqp_peer.py")
        registry = copy / "peers" / "__init__.py"
        text = registry.read_text()
        registry.write_text(text.replace("REGISTRY = {", 'REGISTRY = {\n    "bpqp_peer": ["bpqp", "bpqp-torch"],', 1))
        if own.help_run:
            return subprocess.call([sys.executable, str(copy / "run.py"), "--help"])
        out = own.out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        return subprocess.call([sys.executable, str(copy / "run.py"), "--out", str(out), *others])


if __name__ == "__main__":
    sys.exit(main())
