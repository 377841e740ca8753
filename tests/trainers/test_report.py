"""The report: its numbers are those of the files, it needs no network, and nothing breaks its markup."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from trainers import figures, page, report, results, workdir

UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
# Elements of HTML that have no end.
VOID = ("meta", "img", "link")


class Page(HTMLParser):
    """Tables as lists of rows, addresses, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.addresses, self.metas = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "meta":
            self.metas.append(attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def directories(tmp_path):
    """A pretraining run of 45 epochs and an evaluation "of DISFA", in a directory with an awkward name."""
    run, done = tmp_path / "run", tmp_path / "a_<b> & c"
    workdir.open_workdir(run, {"encoder": "resnet18", "temperature": 0.2})
    for step in (90, 450):
        checkpoint = run / "checkpoints" / f"step_{step:09d}"
        checkpoint.mkdir(parents=True)
        history = [{"loss": 8.0 / epoch, "emotion_loss": 2.0} for epoch in range(1, step // 10 + 1)]
        (checkpoint / "history.json").write_text(json.dumps(history))
    workdir.open_workdir(done, {"dataset": "disfa", "protocol": "finetune"})
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=(90, 8)) < 0.4).astype(int)
    person, rows = np.arange(90) % 9, np.arange(90)
    folds = [(rows[person % 3 != f], rows[person % 3 == f]) for f in range(3)]
    p = 0.4 * labels + 0.6 * rng.uniform(size=labels.shape)
    made = results.Predictions(
        list(UNITS), labels, labels >= 0, person, folds, [p[t] for _, t in folds], np.full((3, 8), 0.5)
    )
    summary = results.summarize(made)
    summary.update(dataset="disfa/1.0.0", protocol="finetune")
    results.write(done, summary)
    figures.evaluation(done / "scores.png", made, results.rows(summary, "disfa", True), "title")
    return run, done, summary


def test_page_shows_the_scores_beside_the_papers(directories):
    run, done, summary = directories
    parts = report.sections([run, done])
    read = Page(page.to_html("A title", report.overview([run, done]), parts))
    overview, training, _, f1, scores, folds, configuration = read.tables
    average = results.number(summary["average"]["f1"])
    low, high = map(results.number, summary["average"]["f1_interval"])
    assert overview[1] == ["a_<b> & c", "disfa/1.0.0", "finetune", average, f"{low} to {high}"]
    expected = [results.number(summary["units"][str(unit)]["f1"]) for unit in UNITS]
    assert ["a_<b> & c", *expected, average] in f1
    assert ["EmoCo (paper)", "42.7", "41.0", "66.3", "45.1", "50.9", "75.5", "88.9", "58.6", "58.6"] in f1
    recall = [results.number(summary["units"][str(unit)]["recall"]) for unit in UNITS]
    assert next(row for row in scores if row[0] == "recall")[1:-1] == recall
    assert [row[-1] for row in folds[1:]] == [results.number(v) for v in summary["average"]["f1_folds"]]
    assert ["protocol", "finetune"] in configuration
    assert any(row[0] == "version of keras" for row in configuration)
    # 45 epochs in some twenty rows, the last one among them, from the newest checkpoint.
    assert training[0] == ["epoch", "emotion_loss", "loss"]
    assert training[-1] == ["45", "2", f"{8 / 45:.4g}"]
    assert len(training) < 25


def test_page_needs_no_network_and_fits_a_phone(directories):
    run, done, _ = directories
    text = page.to_html("A <title>", None, report.sections([run, done]))
    read = Page(text)
    assert read.addresses
    for address in read.addresses:
        assert address.startswith("data:")
    pictures = [a.removeprefix("data:image/png;base64,") for a in read.addresses if "image/png" in a]
    assert len(pictures) == 1
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as picture:
        assert picture.size[0] >= 1000
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.metas
    assert "@media print" in text
    assert not re.search(r"url\(|@import|<script", text)
    assert "A &lt;title&gt;" in text


def test_tables_as_text(directories):
    run, done, summary = directories
    table, parts = report.overview([run, done]), report.sections([run, done])
    average = results.number(summary["average"]["f1"])
    markdown = page.to_markdown("A title", table, parts)
    blocks = re.findall(r"(?:^\|.*\n?)+", markdown, re.M)
    assert len(blocks) == 7
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert re.search(rf"^\| a_<b> & c \|.* {re.escape(average)} \|$", markdown, re.M)
    latex = page.to_latex(table, parts)
    assert rf"a\_<b> \& c & disfa/1.0.0 & finetune & {average} &" in latex
    for tabular in re.findall(r"\\begin\{tabular\}\{(l?r+)\}(.*?)\\end", latex, re.S):
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(tabular[0])}
    assert "version of" not in latex


def test_directory_without_results(directories, tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a run of"):
        report.sections([tmp_path / "none"])
    unfinished = tmp_path / "unfinished"
    workdir.open_workdir(unfinished, {})
    workdir.write_arrays(unfinished / "folds" / "fold1.npz", probabilities=np.zeros(1))
    with pytest.raises(FileNotFoundError, match="nor a finished"):
        report.sections([unfinished])


def test_same_names_are_told_apart_by_what_is_above_them(tmp_path):
    one, two, third = (tmp_path / name for name in ("a/linear", "b/linear", "b/finetune"))
    assert report.names_of([one, two, third]) == {one: "a/linear", two: "b/linear", third: "finetune"}
    assert report.names_of([one]) == {one: "linear"}


def test_ablation_stands_for_what_is_in_it(directories, tmp_path):
    run, done, _ = directories
    ablation = tmp_path / "ablation"
    for name, protocol in (("emoco-seed0", "linear"), ("emoco-seed0", "finetune"), ("no_n-seed0", "linear")):
        (ablation / name).mkdir(parents=True, exist_ok=True)
        shutil.copytree(run, ablation / name, dirs_exist_ok=True)
        (ablation / name / "encoder.keras").write_bytes(b"")
        shutil.copytree(done, ablation / name / protocol)
    workdir.open_workdir(ablation, {"probe_dataset": "disfa"})
    parts = {"MQ": True, "L_cont": True, "L_emo": True, "N": True}
    difference = {"difference": 1.25, "low": -0.5, "high": 3.0, "p": 0.1}
    row = {"name": "emoco", "parts": parts, "f1": [50.0, 52.0], "mean": 51.0, "deviation": 1.4}
    rows = [
        {**row, "paper": 53.3, "emoco_minus": None},
        {**row, "name": "no_n", "parts": {**parts, "N": False}, "paper": None, "emoco_minus": difference},
    ]
    (ablation / "ablation.json").write_text(json.dumps({"linear": rows, "finetune": []}))
    (ablation / "fig5.png").write_bytes((done / "scores.png").read_bytes())
    found = report.sections([ablation])
    assert [section.title for section in found] == [
        "Ablation ablation",
        "Pretraining emoco-seed0",
        "Pretraining no_n-seed0",
        "Evaluation finetune",
        "Evaluation emoco-seed0/linear",
        "Evaluation no_n-seed0/linear",
    ]
    assert found[0].tables[0].rows == [
        ["emoco", "x", "x", "x", "x", "2", "51.0", "1.4", "53.3", "", ""],
        ["no_n", "x", "x", "x", "", "2", "51.0", "1.4", "-", "+1.2", "-0.5 to +3.0"],
    ]
    assert [path.name for _, path in found[0].pictures] == ["fig5.png"]
    names = [cells[0] for cells in report.overview([ablation]).rows]
    assert names == ["finetune", "emoco-seed0/linear", "no_n-seed0/linear"]
