"""Small copies of GFT, as far as its layout is known, are built by TFDS and read back, or refused."""

import os
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders import places
from tfds_builders.gft import gft_dataset_builder, labels, layout

cv2 = pytest.importorskip("cv2", reason="videos need the extra align")

FRAMES = 14
REQUIRED = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
# Two subjects of a training group, one each of groups for validation and test, with a code for missing.
SUBJECTS = {"001A": "9", "001B": "-999", "005C": "NaN", "008A": ""}
UNCODED = range(5, 9)  # a block that nobody coded
SOME_MISSING = 11  # AU6 alone is missing here
EXTRA_UNIT = {"001A": 7}  # that only one table has


def occurrence(subject: str, frame: int, unit: int) -> int:
    return int((int(subject[:3]) + frame * unit) % 5 < 2)


def units_of(subject: str) -> tuple[int, ...]:
    return (*REQUIRED, EXTRA_UNIT[subject]) if subject in EXTRA_UNIT else REQUIRED


def table(subject: str, missing: str) -> str:
    header = {"001A": "frame,{}", "001B": "Frame,{}", "005C": "0,{}", "008A": "AU_note,Frame_Number,{}"}[
        subject
    ]
    spelling = {"001A": "AU{}", "001B": "AU{:02d}", "005C": "{}", "008A": "au{}"}[subject]
    lines = [header.format(",".join(spelling.format(unit) for unit in units_of(subject)))]
    for frame in range(1, FRAMES + 1):
        lost = {u for u in units_of(subject) if frame in UNCODED or (frame == SOME_MISSING and u == 6)}
        codes = [missing if u in lost else str(occurrence(subject, frame, u)) for u in units_of(subject)]
        if subject == "005C":  # As a program writes a column that has NaN.
            codes = [code if code == missing else f"{code}.0" for code in codes]
        lines.append(",".join([*(["x"] if subject == "008A" else []), str(frame), *codes]))
    return "\n".join(lines) + "\n"


def write_video(path: pathlib.Path, count: int) -> None:
    """Writes noise of 64 x 48 pixels, whose red is 15 n + 5 in frame n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for frame in range(1, count + 1):
        image = np.random.default_rng(frame).integers(0, 60, (48, 64, 3), np.uint8)
        image[..., 2] = 15 * frame + 5
        writer.write(image)
    writer.release()


def write_copy(folder: pathlib.Path) -> pathlib.Path:
    for subject, missing in SUBJECTS.items():
        name = f"GFT_{subject}_occ.csv" if subject == "001A" else f"{subject.lower()}_OCC.csv"
        (folder / "meta-data").mkdir(parents=True, exist_ok=True)
        (folder / "meta-data" / name).write_text(table(subject, missing))
        write_video(folder / "video" / f"{subject}.AVI", FRAMES)
    # What else may lie there: intensities, and another set's video.
    (folder / "meta-data" / "001A_int.csv").write_text("frame,AU1\n1,3\n")
    write_video(folder / "LeftVideoSN001_comp.avi", 1)
    return folder


def build(manual_dir, data_dir, name="gft", **kwargs):
    builder = tfds.builder(name, data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder) -> dict[tuple[str, int], dict]:
    read = [e for split in builder.info.splits for e in tfds.as_numpy(builder.as_dataset(split=split))]
    found = {(example["subject"].decode(), int(example["frame"])): example for example in read}
    assert len(found) == len(read)
    return found


def read(folder: pathlib.Path, name: str = "001A") -> list:
    """Returns the frames of one subject without TFDS, which takes seconds."""
    subjects, _ = layout.find(folder)
    (subject,) = (one for one in subjects if one.name == name)
    return list(gft_dataset_builder.read_subject(subject, REQUIRED, None, None))


@pytest.fixture(autouse=True)
def short_videos(monkeypatch):
    monkeypatch.setattr(gft_dataset_builder, "FRAMES", FRAMES)


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    return write_copy(tmp_path / "manual")


@pytest.mark.parametrize("packing", ["folders", "zips"])
def test_frames_and_labels_belong_together(packing, manual_dir, tmp_path, capsys):
    if packing == "zips":
        folder = tmp_path / "zips"
        folder.mkdir()
        for part in ("meta-data", "video"):
            with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
                for path in sorted((manual_dir / part).iterdir()):
                    archive.write(path, path.name)
        manual_dir = folder
    builder = build(manual_dir, tmp_path / "data", strict=False)
    assert builder.info.metadata["action_units"] == sorted([*REQUIRED, 7])
    coded_frames = set(range(1, FRAMES + 1)) - set(UNCODED)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 2 * len(coded_frames),
        "validation": len(coded_frames),
        "test": len(coded_frames),
    }
    found = examples(builder)
    assert found.keys() == {(subject, frame) for subject in SUBJECTS for frame in coded_frames}
    for (subject, frame), example in found.items():
        assert abs(example["image"][..., 0].mean() - (15 * frame + 5)) < 5
        assert example["group"].decode() == subject[:3]
        assert example["sequence"].decode() == subject
        units = builder.info.metadata["action_units"]
        coded = [u in units_of(subject) and not (frame == SOME_MISSING and u == 6) for u in units]
        assert example["action_units"]["coded"].tolist() == coded
        expected = [occurrence(subject, frame, u) * known for u, known in zip(units, coded, strict=True)]
        assert example["action_units"]["occurrence"].tolist() == expected
    output = capsys.readouterr().out
    assert "the tables have columns for AU1, AU2, AU4, AU6, AU7, AU10" in output
    assert f"skipped {len(UNCODED)} (not coded, known): 005C_0005, 005C_0006" in output
    row = next(line for line in output.splitlines() if line.startswith("008A"))
    assert row.split() == ["008A", "10", "14", "-4"]


def test_the_aligner_gets_the_frame_and_strict_knows_what_is_left_out(manual_dir, tmp_path, capsys):
    def aligner(image, points):
        assert points is None
        return None if abs(image[..., 0].mean() - 20) < 5 else np.full((256, 256, 3), 7, np.uint8)

    builder = build(manual_dir, tmp_path / "data", "gft/frames_aligned", aligner=aligner)
    assert builder.info.splits["test"].num_examples == FRAMES - len(UNCODED) - 1
    assert "skipped 1 (no face found, known): 008A_0001" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"not the copy .* 002A: 0 read, 14 documented"):
        build(manual_dir, tmp_path / "strict", strict=True)


def codes_of(text: str, tmp_path, minus_one=None) -> list[tuple[list[int], list[bool]]]:
    (tmp_path / "t.csv").write_text(text)
    with places.Reader() as reader:
        found = labels.read(reader, places.Place(tmp_path / "t.csv"), (1, 2, 4), minus_one)
    return [(occurs.tolist(), coded.tolist()) for occurs, coded in found.values()]


HEADER = "frame," + ",".join(map(str, REQUIRED)) + "\n"
REST = ",0" * (len(REQUIRED) - 3) + "\n"


@pytest.mark.parametrize("missing", ["9", "-999", "999", "NaN", "", " ", "9.0"])
def test_each_code_for_missing_is_masked(missing, tmp_path):
    assert codes_of(f"{HEADER}1,1,{missing},0{REST}", tmp_path) == [([1, 0, 0], [True, False, True])]


def test_minus_one_is_missing_only_where_that_is_clear(tmp_path):
    text = f"{HEADER}1,1,-1,0{REST}"
    with pytest.raises(ValueError, match=r'holds the codes -1, 0, 1\..*"minus_one": "absent"'):
        codes_of(text, tmp_path)
    with pytest.raises(ValueError, match=r"holds the codes -1, 1\."):
        codes_of(f"{HEADER}1,1,-1,1{REST.replace('0', '1')}", tmp_path)
    assert codes_of(text, tmp_path, "missing") == [([1, 0, 0], [True, False, True])]
    assert codes_of(text, tmp_path, "absent") == [([1, 0, 0], [True, True, False])]
    both = f"{text}2,9,-1,0{REST}"
    assert codes_of(both, tmp_path)[1] == ([0, 0, 0], [False, False, True])


def test_the_builder_takes_the_meaning_of_minus_one(tmp_path):
    with pytest.raises(ValueError, match="minus_one must be 'missing', 'absent' or None; got 'no'"):
        tfds.builder("gft", data_dir=tmp_path, minus_one="no")
    assert tfds.builder("gft", data_dir=tmp_path, minus_one="absent")._minus_one == "absent"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{HEADER}1,1,2,0{REST}",
            r"line 2: expected 0, 1 or a code for missing .* got '2': if this is a table",
        ),
        (f"{HEADER}1,1,x,0{REST}", r"line 2: .* got 'x'"),
        (f"{HEADER}1,1,0{REST}", r"line 2: expected 11 cells, as in the header; got 10"),
        (f"{HEADER}1,1,0,0{REST}1,1,0,0{REST}", r"line 3: expected a frame number .* got '1'"),
        (f"{HEADER}0,1,0,0{REST}", r"line 2: expected a frame number from 1 on .* got '0'"),
        (HEADER.replace(",12,", ","), r"which has 1 for frames and lacks AU12: correct the header"),
        (HEADER.replace("frame", "time"), r"got time, 1, 2, .* which has 0 for frames"),
        (HEADER.replace("24", "AU01"), r"has two columns for AU1"),
        ("", r"got an empty file, which has 0 for frames and lacks AU1, AU2"),
    ],
)
def test_damaged_tables_are_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        codes_of(text, tmp_path)


def test_a_truncated_or_too_long_video_is_refused(manual_dir):
    video = manual_dir / "video" / "001A.AVI"
    write_video(video, FRAMES - 1)
    assert read(manual_dir)[-1].reason == "label without frame"
    os.truncate(video, video.stat().st_size // 2)
    with pytest.raises(
        ValueError, match=r"001A.AVI: expected 14 frames, with labels up to frame 14; got only \d"
    ):
        read(manual_dir)
    write_video(video, FRAMES + 2)
    with pytest.raises(
        ValueError, match=r"001A.AVI: expected 14 frames, .*; got over 15: copy the video again"
    ):
        read(manual_dir)


def test_tables_without_videos_and_the_reverse(manual_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no table such as 001A_occ.csv .* lies nothing.\nGFT comes in"
    ):
        layout.find(tmp_path / "empty")
    (manual_dir / "video" / "001A.AVI").unlink()
    (manual_dir / "meta-data" / "008a_OCC.csv").unlink()
    found, lacking = layout.find(manual_dir)
    assert [subject.name for subject in found] == ["001B", "005C"]
    assert lacking == {"001A": "no video", "008A": "no table of occurrence"}
    for path in (manual_dir / "video").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)tables of 3 subjects, but no video .*of Pittsburgh"):
        layout.find(manual_dir)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("more/001a_occurrence.csv", r"two files for 001A: .* and .*: leave one"),
        ("video/001B.mov", r"two files for 001B"),
        ("033A_occ.csv", r"expected the name of one subject, 001A to 032C, .* got 033A"),
        ("001A_002A_occ.csv", r"got 001A, 002A"),
    ],
)
def test_ambiguous_names_are_refused(name, message, manual_dir):
    (manual_dir / name).parent.mkdir(exist_ok=True)
    (manual_dir / name).write_text(HEADER)
    with pytest.raises(ValueError, match=message):
        layout.find(manual_dir)


def test_a_link_in_the_copy_is_refused(manual_dir):
    (manual_dir / "video" / "002A.mp4").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="is a link or a device"):
        layout.find(manual_dir)


def test_tfds_finds_nothing_wrong(manual_dir, tfds_checks):
    tfds_checks(gft_dataset_builder.Builder, manual_dir, {"train": 20, "validation": 10, "test": 10})


def test_probes_train_on_all_but_the_test_split(manual_dir, tmp_path):
    from trainers import probe  # Here, since it takes long to import.

    faces = probe.load(build(manual_dir, tmp_path / "data"))
    assert faces.action_units == sorted([*REQUIRED, 7])
    ((train, test),) = faces.folds
    assert set(faces.subjects[train]) == {b"001A", b"001B", b"005C"}
    assert set(faces.subjects[test]) == {b"008A"}


def test_on_beam_the_same_examples_and_counts(manual_dir, tmp_path, capsys):
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    builder = tfds.builder("gft", data_dir=tmp_path / "beam")
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_runner="DirectRunner")
    builder.download_and_prepare(download_config=config)
    on_beam = capsys.readouterr().out
    plain = build(manual_dir, tmp_path / "plain")
    tables = [
        [line for line in output.splitlines() if line.startswith(("0", "total"))]
        for output in (on_beam, capsys.readouterr().out)
    ]
    assert tables[0] == tables[1] != []
    assert f"skipped {2 * len(UNCODED)} (not coded, known)" in on_beam
    one, other = examples(builder), examples(plain)
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key]["image"], other[key]["image"])
