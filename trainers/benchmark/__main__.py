"""Time the head, the training step, the input, exports and prediction against what else one could use.

`python -m trainers.benchmark [head|step|input|export|predict|all]` measures the contenders of each comparison
in turn, several rounds, each in a process of its own, prints medians with their spread and ratios, and writes
`benchmark.json` and `benchmark.png` to `--output`.
"""

import pathlib
import platform
import re
import sys

from absl import app, flags

from trainers.benchmark import cases, process

FLAGS = flags.FLAGS


def define_flags():
    """What to measure and how long."""
    flags.DEFINE_list("backends", list(cases.BACKENDS), "Keras backends to measure")
    flags.DEFINE_string("only", "", "measure the comparisons whose title matches this regular expression")
    flags.DEFINE_integer("repeats", 7, "rounds over the contenders", lower_bound=1)
    flags.DEFINE_float("seconds", 0.5, "least time of one measurement", lower_bound=0.0)
    flags.DEFINE_bool("quick", False, "tiny sizes, to see that all of it runs; the times mean nothing")
    flags.DEFINE_string("output", "runs/benchmark", "directory for benchmark.json and benchmark.png")


def main(arguments):
    """Measure, print and write; what is done is in the files while the rest is measured."""
    # The measuring processes import this module, and need no matplotlib.
    from trainers.benchmark import report as reports

    parts = arguments[1:] or ["all"]
    unknown = [part for part in parts if part not in (*cases.PARTS, "all")]
    if unknown:
        sys.exit(f"error: no part {unknown[0]!r}: use {', '.join(cases.PARTS)} or all")
    unknown = [backend for backend in FLAGS.backends if backend not in cases.BACKENDS]
    if unknown:
        sys.exit(f"error: --backends: no backend {unknown[0]!r}: use {', '.join(cases.BACKENDS)}")
    comparisons = [
        comparison
        for part, of_part in cases.PARTS.items()
        if part in parts or "all" in parts
        for comparison in of_part(tuple(FLAGS.backends), FLAGS.quick)
        if re.search(FLAGS.only, comparison.title)
    ]
    if not comparisons:
        sys.exit(f"error: --only={FLAGS.only!r} matches no comparison of {', '.join(parts)}")
    output = pathlib.Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    report = {"command": sys.argv, "machine": _machine(), "comparisons": []}
    for comparison in comparisons:
        seconds = 0.0 if FLAGS.quick else FLAGS.seconds
        results = process.measure(comparison.cases, FLAGS.repeats, seconds)
        report["comparisons"].append(reports.as_json(comparison, results))
        print(reports.table(report["comparisons"][-1]), flush=True)
        reports.write(output, report)
    print(f"wrote {output / 'benchmark.json'} and {output / 'benchmark.png'}")


def _machine():
    with open("/proc/cpuinfo") as file:
        models = re.findall(r"model name\s*: (.*)", file.read())
    return {"processor": models[0] if models else platform.processor(), "cores": len(models)}


if __name__ == "__main__":
    define_flags()
    app.run(main)
