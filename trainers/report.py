"""One self-contained page about pretraining runs and evaluations, and its tables as Markdown and LaTeX.

`python -m trainers.report --workdir=runs/demo-synthetic_faces --workdir=runs/linear-synthetic_faces-0123abcd`
writes report.html, report.md and report.tex. It reads what the other programs wrote, and measures nothing.
"""

import base64
import dataclasses
import html
import json
import pathlib
import sys

from absl import app, flags

from trainers import results, workdir

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
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 0 1rem 2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; margin: .5rem 0 }
caption { text-align: left; font-weight: 600; padding: .25rem 0 }
th, td { padding: .15rem .5rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
tr { background: #fff }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: inherit }
tr.own { background: #e8f0fe; font-weight: 600 }
img { max-width: 100%; height: auto }
p { overflow-wrap: anywhere }
@media print {
  body { max-width: none; font-size: 11px } table { font-size: 8px } th, td { padding: 1px 3px }
  .wide { overflow: visible } tr, img { break-inside: avoid } h2 { break-after: avoid }
}
"""


@dataclasses.dataclass(frozen=True)
class Table:
    """Text cells; the first column names the rows.

    Attributes:
        title: above it.
        header: names of the columns.
        rows: cells.
        own: names of the rows that were measured here, among others.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    own: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """What is to say about one directory: sentences, tables, pictures (caption and file)."""

    title: str
    sentences: list[str]
    tables: list[Table]
    pictures: list[tuple[str, pathlib.Path]]


def evaluation(directory: pathlib.Path) -> Section:
    """The section about a finished `trainers.evaluate`."""
    summary = results.read(directory)
    name, dataset = directory.name, summary["dataset"]
    finetuned = summary["protocol"] == "finetune"
    columns = [f"AU{unit}" for unit in summary["units"]] + ["Avg."]
    entries = [*summary["units"].values(), summary["average"]]
    sentences = [
        f"{summary['protocol']} protocol on {dataset}: {summary['faces']} faces of {summary['subjects']} "
        f"people, mean of {summary['folds']} folds. Intervals are of a bootstrap over people. Rows marked "
        "(paper) are the paper's own numbers."
    ]
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


def pretraining(directory: pathlib.Path) -> Section:
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
        f"Pretraining {directory.name}",
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
    for directory in directories:
        if (directory / "scores.json").exists():
            summary = results.read(directory)
            average = summary["average"]
            low, high = map(results.number, average["f1_interval"])
            cells = [directory.name, summary["dataset"], summary["protocol"]]
            rows.append([*cells, results.number(average["f1"]), f"{low} to {high}"])
    header = ["evaluation", "data set", "protocol", "average F1 in %", "95% interval"]
    return Table("Average F1", header, rows) if rows else None


def sections(directories: list[pathlib.Path]) -> list[Section]:
    """A section for each directory.

    Raises:
        FileNotFoundError: a directory holds neither a run nor a finished evaluation.
        DamagedError: a file there is not what the programs wrote.
    """
    found = []
    for directory in directories:
        if (directory / "scores.json").exists():
            found.append(evaluation(directory))
        elif (directory / "config.json").exists() and not (directory / "folds").exists():
            found.append(pretraining(directory))
        else:
            raise FileNotFoundError(
                f"--workdir={directory} holds neither a run of trainers.pretrain nor a finished "
                "trainers.evaluate: give a directory that one of them wrote"
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


def to_html(title: str, table: Table | None, parts: list[Section]) -> str:
    """The page; it needs no network."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    body += [_html_table(table)] if table else []
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        body += [f"<p>{html.escape(sentence)}</p>" for sentence in part.sentences]
        for caption, path in part.pictures:
            image = base64.b64encode(path.read_bytes()).decode()
            body.append(f'<p><img alt="{html.escape(caption)}" src="data:image/png;base64,{image}"></p>')
        body += [_html_table(table) for table in part.tables]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon: a browser would ask the network for one.
        f'<link rel="icon" href="data:,">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n'
        "</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _html_table(table):
    def row(tag, cells, attributes=""):
        return f"<tr{attributes}>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    rows = [row("td", cells, ' class="own"' if cells[0] in table.own else "") for cells in table.rows]
    head = f"<caption>{html.escape(table.title)}</caption><thead>{row('th', table.header)}</thead>"
    return f'<div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def to_markdown(title: str, table: Table | None, parts: list[Section]) -> str:
    """Sentences and tables as Markdown."""
    lines = [f"# {title}", ""]
    lines += _markdown_table(table) if table else []
    for part in parts:
        lines += [f"## {part.title}", "", *(f"{sentence}\n" for sentence in part.sentences)]
        for scores in part.tables:
            lines += _markdown_table(scores)
    return "\n".join(lines)


def _markdown_table(table):
    def row(cells):
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    rule = "| --- |" + " ---: |" * (len(table.header) - 1)
    return [f"**{table.title}**", "", row(table.header), rule, *map(row, table.rows), ""]


def to_latex(table: Table | None, parts: list[Section]) -> str:
    """The tables of scores as LaTeX `tabular`, without packages."""
    tables = [table] if table else []
    tables += [t for part in parts for t in part.tables if t.title != "Configuration"]
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table):
    special = {c: rf"\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {"^": r"\textasciicircum{}"}

    def row(cells):
        return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + r" \\"

    body = "\n".join(map(row, table.rows))
    columns = "l" + "r" * (len(table.header) - 1)
    return (
        f"% {table.title}\n\\begin{{tabular}}{{{columns}}}\n\\hline\n{row(table.header)}\n\\hline\n{body}\n"
        "\\hline\n\\end{tabular}\n"
    )


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
        "workdir", None, "of trainers.pretrain or trainers.evaluate; may be repeated", required=True
    )
    flags.DEFINE_string("output", None, "directory of the report; default the first --workdir")
    flags.DEFINE_string("title", "EmoCo: pretraining and action unit detection", "of the page")
    app.run(main)
