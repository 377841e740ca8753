"""The benchmark's results as JSON, a table and a plot."""

import dataclasses
import json
import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from trainers import workdir
from trainers.benchmark.cases import Comparison
from trainers.benchmark.process import Result


def as_json(comparison: Comparison, results: list[Result]) -> dict:
    """A comparison with, for each case, samples, median, spread and the ratio to the first case."""
    cases = []
    for case, result in zip(comparison.cases, results, strict=True):
        wall = [sample.wall for sample in result.samples]
        cases.append(
            {
                "name": case.name,
                "backend": case.backend,
                "median": float(np.median(wall)),
                "low": min(wall),
                "high": max(wall),
                "cpu": float(np.median([sample.cpu for sample in result.samples])),
                # Each round's own ratio: neighbours in time met the same machine.
                "ratio": float(
                    np.median([w / s.wall for w, s in zip(wall, results[0].samples, strict=True)])
                ),
                **dataclasses.asdict(result),
            }
        )
    return {"title": comparison.title, "unit": comparison.unit, "cases": cases}


def table(comparison: dict) -> str:
    """The comparison as text: milliseconds of a call, their spread, the ratio to the first case, the rate."""
    unit = "GFLOP/s" if comparison["unit"] == "flop" else f"{comparison['unit']}/s"
    scale = 1e-9 if comparison["unit"] == "flop" else 1.0
    lines = [
        f"\n{comparison['title']}",
        f"{'':34}{'median ms':>10}{'low to high':>20}{'ratio':>8}{'CPU ms':>10}{unit:>10}{'extra MB':>10}",
    ]
    for case in comparison["cases"]:
        spread = f"{1e3 * case['low']:.1f} to {1e3 * case['high']:.1f}"
        rate = f"{scale * case['work'] / case['median']:.1f}" if case["work"] else ""
        lines.append(
            f"{case['name']:34}{1e3 * case['median']:10.1f}{spread:>20}{case['ratio']:8.3f}"
            f"{1e3 * case['cpu']:10.1f}{rate:>10}{case['extra'] / 1e6:10.0f}"
        )
    return "\n".join(lines)


def write(directory: pathlib.Path, report: dict) -> None:
    """Write `benchmark.json` and `benchmark.png`, each whole or not at all."""
    workdir.write_text(directory / "benchmark.json", json.dumps(report, indent=1))
    figure = _plot(report["comparisons"])
    with workdir.replaced(directory / "benchmark.png") as partial:
        figure.savefig(partial, dpi=100)
    plt.close(figure)


def _plot(comparisons):
    rows = -(-len(comparisons) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(13, 2.6 * rows), squeeze=False, layout="constrained")
    for panel in axes.flat[len(comparisons) :]:
        panel.set_axis_off()
    for panel, comparison in zip(axes.flat, comparisons, strict=False):
        cases = comparison["cases"][::-1]
        milliseconds = 1e3 * np.array([[case["median"], case["low"], case["high"]] for case in cases])
        spread = np.abs(milliseconds[:, 1:] - milliseconds[:, :1]).T
        bars = panel.barh([case["name"] for case in cases], milliseconds[:, 0], xerr=spread, capsize=2)
        panel.bar_label(bars, [f" {case['ratio']:.2f}" for case in cases], padding=4)
        panel.set_title(comparison["title"], fontsize=9)
        panel.set_xlabel("ms of a call: median, least and greatest; ratio to the first")
        panel.margins(x=0.15)
    return figure
