"""The picture at the top of the README, from the results of the main job.

bpqp portfolio --json > results.json
python docs/picture.py results.json docs/pictures/portfolio.svg
"""

import json
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt

NAMES = {
    "static": "risk model of the last 240 days",
    "two-stage": "network trained for the forecast (two-stage)",
    "control": "the same, trained as long",
    "through": "network trained through the program",
}
COLOURS = {"static": "#9aa5b1", "two-stage": "#6b8fb8", "control": "#3f6ea5", "through": "#d9622b"}


def main(source: str, target: str) -> None:
    with open(source, encoding="utf-8") as file:
        results = json.load(file)
    rows = {row["method"]: row for row in results["rows"]}
    periods = [f"{p['test']['from'][:4]} to {p['test']['until'][:4]}" for p in results["periods"]]
    mpl.rcParams.update({"font.size": 11, "svg.hashsalt": "bpqp", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(9.6, 3.4))
    groups = ["all test days", *periods]
    for k, method in enumerate(NAMES):
        row = rows[method]
        values = [100 * m["volatility"] for m in (row["mean"], *row["by_period"])]
        places = [g + 0.2 * (k - 1.5) for g in range(len(groups))]
        axes.bar(places, values, width=0.19, color=COLOURS[method], label=NAMES[method])
        for x, value in zip(places, values, strict=True):
            axes.text(x, value + 0.02, f"{value:.2f}", ha="center", va="bottom", fontsize=7.5)
    axes.set_xticks(range(len(groups)), groups)
    lowest = min(100 * m["volatility"] for method in NAMES for m in rows[method]["by_period"])
    axes.set_ylim(lowest - 0.6, None)
    axes.set_ylabel("volatility, % a year\n(the axis does not start at 0)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    days, stocks = sum(p["test"]["days"] for p in results["periods"]), len(results["data"]["tickers"])
    axes.set_title(f"The calmest portfolio of {stocks} stocks, {days} test days", fontsize=11, pad=44, loc="left")
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
