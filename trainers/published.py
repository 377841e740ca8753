"""The numbers of the paper's Tables I to IV, read from `published.tsv`. None of them was measured here."""

import dataclasses
import pathlib

from tfds_builders import tables

PARTS = ("MQ", "L_cont", "L_emo", "N")
"""Of EmoCo, as Table IV switches them."""
TABLE = pathlib.Path(__file__).with_name("published.tsv")


def _f1(cell):
    return float(cell) if cell else None


UNITS = {f"AU{unit}": _f1 for unit in (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)}
"""Columns of the table, and what makes a number of their cells."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table of the paper; F1 in percent.

    Attributes:
        table: `"I"`, `"II"`, `"III"` or `"IV"`.
        dataset: `"gft"`, `"disfa"` or `"bp4d"`.
        group: `"supervised"`, `"self-supervised"`, `"ours"` or, in Table IV, `"ablation"`.
        method: name.
        finetuned: whether the whole network was trained on the data set.
        quoted: whether the paper took the row from the method's own paper, its asterisk.
        parts: of Table IV: which of `MQ`, `L_cont`, `L_emo`, `N` were on; empty elsewhere.
        f1: number of the action unit -> F1; empty in Table IV.
        average: as printed.
    """

    table: str
    dataset: str
    group: str
    method: str
    finetuned: bool
    quoted: bool
    parts: dict[str, bool]
    f1: dict[int, float]
    average: float


def load() -> list[Row]:
    """All rows, in the paper's order.

    Raises:
        ValueError: the table that comes with this project is damaged.
    """
    columns = dict.fromkeys(("table", "dataset", "group", "method", "finetuned", "quoted", *PARTS), str)
    return [_row(cells) for cells in tables.records(TABLE, {**columns, **UNITS, "average": float})]


def _row(cells):
    return Row(
        cells["table"],
        cells["dataset"],
        cells["group"],
        cells["method"],
        cells["finetuned"] == "yes",
        cells["quoted"] == "yes",
        {name: cells[name] == "yes" for name in PARTS if cells[name]},
        {int(name[2:]): cells[name] for name in UNITS if cells[name] is not None},
        cells["average"],
    )


def find(dataset: str, finetuned: bool) -> list[Row]:
    """The rows of Tables I to III on a data set under a protocol; none where the paper has no such table.

    Args:
        dataset: TFDS name; what follows a slash does not matter.
        finetuned: True for the finetuning protocol.
    """
    name = dataset.split("/")[0]
    return [row for row in load() if (row.dataset, row.finetuned) == (name, finetuned) and row.f1]


def ablation(dataset: str, finetuned: bool, parts: dict[str, bool] | None) -> float | None:
    """The average F1 in Table IV on a data set with some parts of EmoCo; None where the paper has none."""
    name = dataset.split("/")[0]
    rows = [r for r in load() if (r.table, r.dataset, r.finetuned, r.parts) == ("IV", name, finetuned, parts)]
    return rows[0].average if rows else None
