"""The table and strictness of `Counts`, against what was read and skipped by hand."""

import math

import pytest

from tfds_builders.counts import DAMAGED, Counts


def words(counts: Counts) -> list[list[str]]:
    return [line.split() for line in str(counts).splitlines()]


def test_the_table_has_a_row_for_each_documented_key_and_each_found_one():
    counts = Counts("toy train", {"happy": 1200, "sad": 2, 3: 0})
    counts.read("happy", 1100)
    counts.read("happy")
    counts.read("angry")
    counts.read(3)
    assert words(counts)[0] == ["toy", "train"]
    assert words(counts)[2:] == [
        ["happy", "1,101", "1,200", "-99"],
        ["sad", "0", "2", "-2"],
        ["3", "1", "0", "+1"],
        ["angry", "1", "0", "+1"],
        ["total", "1,103", "1,202", "-99"],
    ]


def test_without_documentation_nothing_is_compared(capsys):
    counts = Counts("toy", {}, total=False, strict=True)
    counts.read("SN001")
    counts.report()
    assert ["SN001", "1", "unknown"] in words(counts)
    assert "total" not in capsys.readouterr().out


def test_skips_are_counted_by_reason_with_the_first_three_names():
    counts = Counts("toy", {}, known={"no image": 4, "damaged": 1})
    for number in range(4):
        counts.skip("no image", f"{number}.jpg")
    for name in ("a", "b"):
        counts.skip("damaged", name)
    counts.note("negative box", "c")
    assert str(counts).splitlines()[-3:] == [
        "skipped 4 (no image, known): 0.jpg, 1.jpg, 2.jpg, ...",
        "skipped 2 (damaged): a, b",
        "kept 1 (negative box): c",
    ]


@pytest.mark.parametrize(
    ("read", "damaged", "refused"), [(20, 10, False), (20, 11, True), (9900, 100, False), (9899, 101, True)]
)
def test_damaged_images_are_skipped_up_to_a_limit(read, damaged, refused):
    counts = Counts("toy", {})
    counts.read("happy", read)
    for number in range(damaged):
        counts.skip(DAMAGED, f"{number}.jpg")
    assert f"skipped {damaged} ({DAMAGED}): 0.jpg, 1.jpg, 2.jpg, ..." in str(counts)
    if not refused:
        counts.report()
        return
    with pytest.raises(
        ValueError, match=rf"{damaged} of [\d,]+ images do not decode \(0.jpg, .*: copy them again"
    ):
        counts.report()


def strict(full: dict, known: dict, read: dict, skips: list) -> str:
    """What `report` raises, or nothing."""
    counts = Counts("toy", full, known=known, strict=True)
    for key, number in read.items():
        counts.read(key, number)
    for skip in skips:
        counts.skip(*skip)
    try:
        counts.report()
    except ValueError as error:
        return str(error)
    return ""


def test_strict_accepts_a_full_copy_and_what_it_is_known_to_lose():
    assert strict({"a": 2, "b": 1}, {}, {"a": 2, "b": 1}, []) == ""
    assert strict({"a": 2}, {"tif": 1}, {"a": 1}, [("tif", "x", "a")]) == ""
    assert strict({"a": 2}, {"NULL": 1}, {"a": 2}, [("NULL", "x")]) == ""
    assert strict({"a": 2}, {"other view": math.inf}, {"a": 2}, [("other view", "x")] * 9) == ""


@pytest.mark.parametrize(
    ("full", "known", "read", "skips", "message"),
    [
        ({"a": 2}, {}, {"a": 1}, [], "a: 1 read, 2 documented"),
        ({"a": 2}, {}, {"a": 3}, [], "a: 3 read, 2 documented"),
        ({"a": 2}, {}, {"a": 2, "b": 1}, [], "b: 1 read, 0 documented"),
        ({"a": 2}, {}, {"a": 1}, [("tif", "x", "a")], "1 skipped (tif); known are 0; a: 1 read"),
        ({"a": 3}, {"tif": 1}, {"a": 1}, [("tif", "x", "a")] * 2, "2 skipped (tif); known are 1; a: 1 read"),
        ({"a": 2, "b": 2}, {"tif": 1}, {"a": 1, "b": 2}, [("tif", "x", "b")], "a: 1 read, 2 documented"),
        ({}, {}, {"a": 1}, [("absent", "x")], "1 skipped (absent)"),
    ],
)
def test_strict_refuses_what_is_not_known_after_printing_the_table(full, known, read, skips, message, capsys):
    error = strict(full, known, read, skips)
    assert message in error
    assert "build without strict" in error
    assert capsys.readouterr().out.startswith("\ntoy\n")


def test_a_split_of_which_nothing_is_there_is_an_error_without_strict():
    counts = Counts("toy", {"a": 2})
    counts.skip("image is absent", "x.jpg")
    with pytest.raises(ValueError, match=r"toy: nothing was read; 1 skipped \(image is absent\)"):
        counts.report()
