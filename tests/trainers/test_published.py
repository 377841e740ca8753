"""The published numbers: averages recomputed from the rows, and each number compared with the paper."""

import pathlib
import re

import pytest

from trainers import published

PAPER = pathlib.Path(__file__).parents[3] / "shared" / "docs" / "paper.txt"
ROWS = published.load()
# Averages that the paper prints differently from the mean of its own row: (table, method, finetuned) -> mean.
MISPRINTED = {
    ("II", "DRML", True): 26.05,
    ("II", "EAC", True): 57.41,
    ("II", "TAE", False): 51.24,
    ("III", "EAC", True): 55.58,
    ("III", "SRERL", True): 62.9,
    ("III", "Temporal Ranking", True): 59.16,
}
DATASETS = ("gft", "disfa", "bp4d")


def test_every_row_is_there():
    assert [sum(row.table == table for row in ROWS) for table in ("I", "II", "III", "IV")] == [12, 15, 15, 30]
    units = {"I": (1, 2, 4, 6, 10, 12, 14, 15, 23, 24), "II": (1, 2, 4, 6, 9, 12, 25, 26)}
    units["III"] = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
    assert all(tuple(row.f1) == units.get(row.table, ()) for row in ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if row.f1], ids=lambda r: f"{r.table} {r.method}")
def test_average_is_the_mean_of_the_row(row):
    mean = sum(row.f1.values()) / len(row.f1)
    expected = MISPRINTED.get((row.table, row.method, row.finetuned))
    if expected is None:
        # Half a unit of the last place, and the binary form of the numbers.
        assert abs(mean - row.average) <= 0.05 + 1e-9
    else:
        assert mean == pytest.approx(expected, abs=0.005)
        assert abs(mean - row.average) > 0.05, "no misprint: take it off the list"


def test_ablation_repeats_the_tables():
    ours = {(row.dataset, row.finetuned): row.average for row in ROWS if row.group == "ours"}
    full = {(r.dataset, r.finetuned): r.average for r in ROWS if r.table == "IV" and all(r.parts.values())}
    assert ours == full
    assert len(full) == 6


def test_find():
    assert [row.average for row in published.find("disfa/occurrence", False) if row.group == "ours"] == [53.3]
    assert published.find("synthetic_faces", True) == []


needs_paper = pytest.mark.skipif(not PAPER.exists(), reason=f"the paper's text is not at {PAPER}")


@needs_paper
@pytest.mark.parametrize("table", ["I", "II", "III"])
def test_each_number_is_the_papers(table):
    text = PAPER.read_text()
    # From the last "TABLE n" heading before its rows to the next heading.
    start = re.search(rf"^(#### )?TABLE {table}$", text, re.M).end()
    end = re.search(r"^(#### )?TABLE I|^After finetuned", text[start:], re.M).start()
    printed = {}
    for line in text[start : start + end].splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) > 9 and cells[1] and cells[1] != "Methods/AU":
            name = re.sub(r"\(finetune\)|\[\d+\]|\*", "", cells[1]).strip()
            printed[name, "finetune" in cells[1]] = ("*" in cells[1], [float(c) for c in cells[2:] if c])
    rows = [row for row in ROWS if row.table == table]
    assert len(printed) == len(rows)
    for row in rows:
        finetuned = row.finetuned and row.group != "supervised"
        assert printed[row.method, finetuned] == (row.quoted, [*row.f1.values(), row.average])


@needs_paper
def test_each_number_of_the_ablation_is_the_papers():
    table = PAPER.read_text().split("TABLE IV ABLATION")[1].split("intra-class normalization")[0]
    printed = []
    for line in table.splitlines():
        cells = line.split("\t")
        if len(cells) > 6 and re.fullmatch(r"\d\d\.\d", cells[6].strip()):
            printed.append(([r"\checkmark" in cell for cell in cells[1:6]], float(cells[6])))
    rows = [row for row in ROWS if row.table == "IV"]
    assert printed == [([row.finetuned, *row.parts.values()], row.average) for row in rows]
    assert [row.dataset for row in rows] == [name for name in DATASETS for _ in range(10)]
