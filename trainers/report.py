"""One self-contained page about pretraining runs and evaluations, and its tables as Markdown and LaTeX.

`python -m trainers.report --workdir=runs/demo-synthetic_faces --workdir=runs/linear-synthetic_faces-0123abcd`
writes report.html, report.md and report.tex; `--workdir=runs/ablation` stands for all that `trainers.ablate`
ran there. It reads what the other programs wrote, and measures nothing.
"""

import json
import pathlib
import sys

from absl import app, flags

from trainers import published, results, workdir
from trainers.page import Section, Table, to_html, to_latex, to_markdown

FLAGS = flags.FLAGS
# Scores beside F1, as `results.summarize` names them.
SCORES = {
    "f1": "F1",
    "f1_deviation": "deviation of folds",
    "f1_norm": "F1-norm",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "prevalence": "prevalence",
}


def expand(directories: list[pathlib.Path]) -> list[pathlib.Path]:
    """Each directory once; that of an ablation is followed by the runs and finished evaluations in it."""
    found = {}
    for directory in directories:
        found[directory] = None
        if (directory / "ablation.json").exists():
            found.update(dict.fromkeys(path.parent for path in sorted(directory.glob("*/encoder.keras"))))
            found.update(dict.fromkeys(path.parent for path in sorted(directory.glob("*/*/scores.json"))))
    return list(found)


def names_of(directories: list[pathlib.Path]) -> dict[pathlib.Path, str]:
    """What each directory is called: the last parts of its path, as many as no other one ends with."""
    parts = {directory: directory.resolve().parts for directory in directories}

    def is_unique(tail):
        return sum(other[-len(tail) :] == tail for other in parts.values()) == 1

    return {
        directory: "/".join(next((own[-n:] for n in range(1, len(own)) if is_unique(own[-n:])), own))
        for directory, own in parts.items()
    }


def ablation(directory: pathlib.Path, name: str) -> Section:
    """The section about a `trainers.ablate`, finished or not: Table IV, Fig. 4 and 5 where they are drawn."""
    file = directory / "ablation.json"
    found = workdir.read_json(file, {})
    dataset = workdir.read_config(directory / "config.json")["settings"]["probe_dataset"]
    header = ["", *published.PARTS, "seeds", "F1", "deviation", "paper", "EmoCo minus it", "95% interval"]
    try:
        tables = [
            Table(
                f"Average F1 in %, {kind} protocol, {dataset}", header, [_ablation_row(row) for row in rows]
            )
            for kind, rows in found.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise workdir.DamagedError(
            f"{file} is damaged ({type(error).__name__}: {error}): let trainers.ablate write it again"
        ) from error
    sentences = [
        "F1: mean over the seeds; deviation: of the seeds. Intervals are of a paired bootstrap over people.",
        _command(directory),
    ]
    pictures = {
        "fig4.png": "Average F1 over lambda",
        "fig5.png": "Features in the plane (t-SNE), by emotion, and within one emotion by action unit",
    }
    return Section(
        f"Ablation {name}", sentences, [*tables, *_configuration(directory)], _pictures(directory, pictures)
    )


def _ablation_row(row):
    marks = ["x" if row["parts"] and row["parts"][part] else "" for part in published.PARTS]
    cells = [row["name"], *marks, str(len(row["f1"]))]
    cells += [results.number(row[key]) for key in ("mean", "deviation", "paper")]
    c = row["emoco_minus"]
    return cells + ([f"{c['difference']:+.1f}", f"{c['low']:+.1f} to {c['high']:+.1f}"] if c else ["", ""])


def evaluation(directory: pathlib.Path, name: str) -> Section:
    """The section about a finished `trainers.evaluate`."""
    summary = results.read(directory)
    dataset = summary["dataset"]
    finetuned = summary["protocol"] == "finetune"
    columns = [f"AU{unit}" for unit in summary["units"]] + ["Avg."]
    entries = [*summary["units"].values(), summary["average"]]
    sentences = [
        f"{summary['protocol']} protocol on {dataset}: {summary['faces']} faces of {summary['subjects']} "
        f"people, mean of {summary['folds']} folds. Intervals are of a bootstrap over people. Rows marked "
        "(paper) are the paper's own numbers."
    ]
    if summary.get("emotion"):
        sentences.append(f"Trained and tested on the faces of {summary['emotion']} only.")
    if summary.get("held_out"):
        sentences.append("Tested on held-out people of the training faces, not on the test faces.")
    if "comparison" in summary:
        c = summary["comparison"]
        sentences.append(
            f"Average F1 minus that of {c['to']}: {c['difference']:+.1f}, 95% from {c['low']:+.1f} to "
            f"{c['high']:+.1f}, p = {c['p']:.3f}."
        )
    sentences.append(_command(directory))
    f1 = [
        [title.strip(), *map(results.number, [*values, average])]
        for title, values, average in results.rows(summary, dataset, finetuned, name)
    ]
    others = [[label, *(results.number(e[key]) for e in entries)] for key, label in SCORES.items()]
    folds = [
        [f"fold {k + 1}", *(results.number(e["f1_folds"][k]) for e in entries)]
        for k in range(summary["folds"])
    ]
    return Section(
        f"Evaluation {name}",
        sentences,
        [
            Table("F1 in %", ["Methods/AU", *columns], f1, own=(name,)),
            Table("All scores in %, mean of folds", ["", *columns], others),
            Table("F1 of each fold in %", ["", *columns], folds),
            *_configuration(directory),
        ],
        _pictures(
            directory,
            {
                "scores.png": "F1 with 95% intervals, and precision over recall",
                "confusion.png": "What a linear classifier of the features takes each emotion for",
                "neighbours.png": "Held-out faces and their nearest of other people in the same emotion",
            },
        ),
    )


def pretraining(directory: pathlib.Path, name: str) -> Section:
    """The section about a run of `trainers.pretrain`."""
    histories = sorted(directory.glob("checkpoints/step_*/history.json"))
    sentences, tables = ["No epoch is finished."], []
    if histories:
        steps = int(histories[-1].parent.name.removeprefix("step_"))
        try:
            history = json.loads(histories[-1].read_text())
            table = _training(history)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise workdir.DamagedError(
                f"{histories[-1]} is damaged ({type(error).__name__}: {error}): leave {directory} out"
            ) from error
        sentences, tables = [f"{len(history)} epochs, {steps} steps."], [table]
    pictures = {"summary.png": "Curves, F1 of a linear probe, features in the plane"}
    return Section(
        f"Pretraining {name}",
        [*sentences, _command(directory)],
        [*tables, *_configuration(directory)],
        _pictures(directory, pictures),
    )


def _training(history):
    names = sorted(history[-1])
    # At most some twenty rows of a long run.
    kept = [i for i in range(len(history)) if i % -(-len(history) // 20) == 0 or i == len(history) - 1]
    return Table(
        "Training",
        ["epoch", *names],
        [[str(i + 1), *(f"{float(history[i][n]):.4g}" for n in names)] for i in kept],
    )


def overview(directories: list[pathlib.Path]) -> Table | None:
    """One row for each evaluation; None if there is none."""
    rows = []
    for directory, name in names_of(expand(directories)).items():
        if (directory / "scores.json").exists():
            summary = results.read(directory)
            average = summary["average"]
            low, high = map(results.number, average["f1_interval"])
            cells = [name, summary["dataset"], summary["protocol"]]
            rows.append([*cells, results.number(average["f1"]), f"{low} to {high}"])
    header = ["evaluation", "data set", "protocol", "average F1 in %", "95% interval"]
    return Table("Average F1", header, rows) if rows else None


def sections(directories: list[pathlib.Path]) -> list[Section]:
    """A section for each directory, and for what is in that of an ablation.

    Raises:
        FileNotFoundError: a directory holds no run, no finished evaluation and no ablation.
        DamagedError: a file there is not what the programs wrote.
    """
    found = []
    for directory, name in names_of(expand(directories)).items():
        if (directory / "ablation.json").exists():
            found.append(ablation(directory, name))
        elif (directory / "scores.json").exists():
            found.append(evaluation(directory, name))
        elif (directory / "config.json").exists() and not (directory / "folds").exists():
            found.append(pretraining(directory, name))
        else:
            raise FileNotFoundError(
                f"--workdir={directory} holds neither a run of trainers.pretrain nor a finished "
                "trainers.evaluate or trainers.ablate: give a directory that one of them wrote"
            )
    return found


def _configuration(directory):
    config = workdir.read_config(directory / "config.json")
    values = {**config["settings"], **{f"version of {k}": v for k, v in config["versions"].items()}}
    return [Table("Configuration", ["setting", "value"], [[k, str(v)] for k, v in values.items()])]


def _command(directory):
    config = workdir.read_config(directory / "config.json")
    return f"Command: {' '.join(map(str, config['command']))}"


def _pictures(directory, captions):
    return [(text, directory / name) for name, text in captions.items() if (directory / name).exists()]


def main(_):
    """Read the directories, write the three files."""
    directories = [pathlib.Path(name) for name in FLAGS.workdir]
    output = pathlib.Path(FLAGS.output or directories[0])
    try:
        parts = sections(directories)
        table = overview(directories)
        output.mkdir(parents=True, exist_ok=True)
        workdir.write_text(output / "report.html", to_html(FLAGS.title, table, parts))
        workdir.write_text(output / "report.md", to_markdown(FLAGS.title, table, parts))
        workdir.write_text(output / "report.tex", to_latex(table, parts))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote report.html, report.md and report.tex in {output}")


if __name__ == "__main__":
    flags.DEFINE_multi_string(
        "workdir", None, "of trainers.pretrain, evaluate or ablate; may be repeated", required=True
    )
    flags.DEFINE_string("output", None, "directory of the report; default the first --workdir")
    flags.DEFINE_string("title", "EmoCo: pretraining and action unit detection", "of the page")
    app.run(main)
