"""Small copies of BP4D in its own layouts, written here, are built by TFDS and read back, or refused."""

import io
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders import folds
from tfds_builders.bp4d import bp4d_dataset_builder, full_copy, labels, layout

WIDTH = 99  # columns of a table beside that of the frames
# Of each sequence the coded frames, and how many digits its images' names have.
SEQUENCES = {
    ("F001", 1): (range(2440, 2446), 4),  # part1
    ("M018", 8): (range(187, 193), 3),  # part2
    ("F004", 5): (range(1, 5), 3),  # part3
}
INTENSITY_UNITS = (6, 10, 12, 14, 17)
NO_IMAGE = ("F001", 2443)
OCCLUDED = ("M018", 190)


def occurrence(subject: str, frame: int, unit: int) -> int:
    """Codes are made up; AU5 is missing in every third frame, and what the coders never judged always."""
    if (unit == 5 and frame % 3 == 0) or unit not in labels.ACTION_UNITS:
        return 9
    return (int(subject[1:]) + frame * unit) % 7 < 3


def intensity(frame: int, unit: int) -> int:
    return 9 if (frame, unit) == (189, 10) else (frame + unit) % 6


def table(subject: str, frames: range) -> str:
    lines = [",".join(map(str, range(WIDTH + 1)))]
    for frame in frames:
        codes = [int(occurrence(subject, frame, unit)) for unit in range(1, WIDTH)]
        flag = int((subject, frame) == OCCLUDED)
        lines.append(",".join(map(str, [frame, *codes, flag])))
    return "\r\n".join(lines) + "\r\n"


def jpeg(frame: int, size: tuple[int, int] = (26, 34)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (frame % 251, 0, 0)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def copy_of(style: str) -> dict[str, bytes]:
    """The files of a copy, as of FERA 2015 or of the full release."""
    images, tables, intensities = {
        "fera": ("BP4D-training", "BP4D-AUCoding/AUCoding", "AU-Intensity-Codes3.0"),
        "full": ("2D", "AUCoding/AU_OCC", "AUCoding/AU_INT"),
    }[style]
    files = {}
    for (subject, task), (frames, digits) in SEQUENCES.items():
        files[f"{tables}/{subject}_T{task}.csv"] = table(subject, frames).encode()
        # Images come also of frames that nobody coded.
        for frame in range(max(1, frames[0] - 1), frames[-1] + 2):
            if (subject, frame) != NO_IMAGE:
                files[f"{images}/{subject}/T{task}/{frame:0{digits}d}.jpg"] = jpeg(frame)
    for unit in INTENSITY_UNITS:
        lines = [f"{frame},{intensity(frame, unit)}" for frame in SEQUENCES["M018", 8][0] if frame != 192]
        files[f"{intensities}/AU{unit:02d}/M018_T8_AU{unit:02d}.csv"] = "\n".join(lines).encode()
    files[f"{images}/F001/T1/2440.obj"] = b"3D"
    return files


def write(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zips(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    """Writes images of each subject as the zip of it, and everything else as another."""
    folder.mkdir()
    for name, data in files.items():
        top, subject, *rest = name.split("/")
        inside = "/".join(rest) if top == "2D" else name
        with zipfile.ZipFile(folder / f"{subject if top == '2D' else top}.zip", "a") as archive:
            archive.writestr(inside, data)
    return folder


def build(manual_dir, data_dir, name="bp4d", **kwargs):
    builder = tfds.builder(name, data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder) -> dict[tuple[str, int], dict]:
    decoders = {"image": tfds.decode.SkipDecoding()}
    splits = [tfds.as_numpy(builder.as_dataset(split=s, decoders=decoders)) for s in builder.info.splits]
    read = [example for split in splits for example in split]
    found = {(example["subject"].decode(), int(example["frame"])): example for example in read}
    assert len(found) == len(read)
    return found


def read(folder: pathlib.Path, name: str = "F001_T1") -> list:
    """Returns the frames of one sequence without TFDS, which takes seconds."""
    found, _ = layout.find(folder)
    (sequence,) = (one for one in found if one.name == name)
    return list(bp4d_dataset_builder.read_sequence(sequence, None))


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    return write(tmp_path / "manual", copy_of("fera"))


@pytest.mark.parametrize("style", ["fera", "full", "zips"])
def test_images_and_labels_belong_together(style, tmp_path, capsys):
    files = copy_of("fera" if style == "fera" else "full")
    folder = (write_zips if style == "zips" else write)(tmp_path / "manual", files)
    builder = build(folder, tmp_path / "data")
    assert tuple(builder.info.metadata["action_units"]) == labels.ACTION_UNITS
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "part1": 5,
        "part2": 6,
        "part3": 4,
    }
    found = examples(builder)
    coded_frames = {(subject, frame) for (subject, _), (frames, _) in SEQUENCES.items() for frame in frames}
    assert found.keys() == coded_frames - {NO_IMAGE}
    for (subject, frame), example in found.items():
        assert example["image"] == jpeg(frame)
        assert example["occluded"] == ((subject, frame) == OCCLUDED)
        codes = [occurrence(subject, frame, unit) for unit in labels.ACTION_UNITS]
        units = example["action_units"]
        assert units["coded"].tolist() == [code != 9 for code in codes]
        assert units["occurrence"].tolist() == [code * (code != 9) for code in codes]
        levels = {u: intensity(frame, u) for u in INTENSITY_UNITS if subject == "M018" and frame != 192}
        levels = {unit: level for unit, level in levels.items() if level != 9}
        assert units["intensity_coded"].tolist() == [unit in levels for unit in labels.ACTION_UNITS]
        assert units["intensity"].tolist() == [levels.get(unit, 0) for unit in labels.ACTION_UNITS]
    assert found["F004", 1]["sequence"] == b"F004_T5"
    assert found["F004", 1]["emotion"] == b"fear"
    output = capsys.readouterr().out
    assert "skipped 1 (no image, known): F001_T1_2443" in output
    row = next(line for line in output.splitlines() if line.startswith("M018"))
    assert row.split() == ["M018", "6", "3,488", "-3,482"]
    # Labels are counted whether or not there is the image.
    positives = sum(occurrence("F001", frame, 12) for frame in SEQUENCES["F001", 1][0])
    row = next(line for line in output.splitlines() if line.startswith("AU12"))
    assert row.split()[1] == str(positives)


def test_the_documented_numbers_agree_with_each_other():
    assert sum(full_copy.FRAMES.values()) == 146_847
    assert full_copy.FRAMES.keys() == folds.part_of("bp4d").keys()
    assert sum(full_copy.FRAMES_WITHOUT_IMAGE.values()) == 146_847 - 146_576
    totals = [sum(column) for column in zip(*full_copy.OCCURRENCES.values(), strict=True)]
    assert totals == [
        *(31_042, 25_110, 29_755, 67_676, 80_616, 87_270, 82_530, 68_375, 24_869, 50_406, 24_288, 22_229)
    ]


def test_the_aligner_gets_the_image(manual_dir, tmp_path, capsys):
    def aligner(image, points):
        assert points is None
        assert image.shape == (34, 26, 3)
        return None if 188 < image[0, 0, 0] < 190 else np.full((256, 256, 3), image[0, 0, 0], np.uint8)

    builder = build(manual_dir, tmp_path / "data", "bp4d/frames_aligned", aligner=aligner)
    assert builder.info.splits["part2"].num_examples == 5
    for (_, frame), example in examples(builder).items():
        assert abs(np.asarray(Image.open(io.BytesIO(example["image"]))).mean() - frame % 251) < 4
    assert "skipped 1 (no face found, known): M018_T8_0189" in capsys.readouterr().out


def test_strict_refuses_what_is_no_full_copy(manual_dir, tmp_path):
    with pytest.raises(ValueError, match=r"not the copy .* F001: 5 read, 3,934 documented"):
        build(manual_dir, tmp_path / "data", strict=True)


def test_images_that_do_not_decode_are_counted(manual_dir):
    image = manual_dir / "BP4D-training" / "F001" / "T1" / "2441.jpg"
    image.write_bytes(image.read_bytes()[:-100])
    frames = read(manual_dir)
    assert [(frame.name, frame.reason) for frame in frames if frame.example is None] == [
        ("F001_T1_2441", "image does not decode"),
        ("F001_T1_2443", "no image"),
    ]


def test_sequences_with_images_or_tables_alone_are_counted(manual_dir, tmp_path, capsys):
    write(
        manual_dir, {"more/F002/T3/001.jpg": jpeg(1), "more/f08_t2.csv": table("F008", range(1, 3)).encode()}
    )
    builder = build(manual_dir, tmp_path / "data")
    assert builder.info.splits["part1"].num_examples == 5
    output = capsys.readouterr().out
    assert "skipped 1 (no occurrence table): F002_T3" in output
    assert "skipped 3 (no image, known): F001_T1_2443, F008_T2_0001, F008_T2_0002" in output


def test_columns_are_found_by_their_numbers_and_may_be_fewer(manual_dir):
    path = manual_dir / "BP4D-AUCoding" / "AUCoding" / "F004_T5.csv"
    units = (*labels.REQUIRED[::-1], 28)
    codes = [
        f"{frame}," + ",".join(str(int(occurrence("F004", frame, u))) for u in units) for frame in (1, 2)
    ]
    path.write_text("\ufeff0," + ",".join(f"AU{unit:02d}" for unit in units) + "\n" + "\n".join(codes) + "\n")
    for number, frame in enumerate(read(manual_dir, "F004_T5"), start=1):
        found = frame.example["action_units"]
        assert found["coded"].tolist() == [unit in units for unit in labels.ACTION_UNITS]
        expected = [occurrence("F004", number, unit) for unit in labels.REQUIRED]
        positions = [labels.ACTION_UNITS.index(unit) for unit in labels.REQUIRED]
        assert found["occurrence"][positions].tolist() == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0,1,2,3,4,", "0,1,2,3,44,", r"F001_T1.csv: expected a header .* without 4: get the file again"),
        ("0,1,2,3,4,", "1,1,2,3,4,", r"expected a header .* without a 0 for the frames"),
        ("\r\n2441,", "\r\n2441,2,", r"F001_T1.csv, line 3: expected 100 cells, as in the header; got 101"),
        ("\r\n2441,", "\r\n2440,", r"line 3: expected a frame number .* got '2440'"),
        ("\r\n2441,", "\r\n0,", r"line 3: expected a frame number from 1 on .* got '0'"),
        ("\r\n2441,", "\r\n2441x,", r"line 3: expected a frame number .* got '2441x'"),
    ],
)
def test_damaged_tables_are_refused(old, new, message, manual_dir):
    path = manual_dir / "BP4D-AUCoding" / "AUCoding" / "F001_T1.csv"
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())
    with pytest.raises(ValueError, match=message):
        read(manual_dir)


def test_wrong_codes_are_refused(manual_dir):
    path = manual_dir / "BP4D-AUCoding" / "AUCoding" / "F001_T1.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "2440,2" + lines[1][6:], *lines[2:]]))
    with pytest.raises(ValueError, match=r"line 2: expected 0, 1 or 9 \(missing\) for AU1; got '2'"):
        read(manual_dir)
    path = manual_dir / "AU-Intensity-Codes3.0" / "AU06" / "M018_T8_AU06.csv"
    path.write_text("187,1\n188,6\n")
    with pytest.raises(
        ValueError, match=r"M018_T8_AU06.csv, line 2: expected frame,intensity .* got '188,6'"
    ):
        read(manual_dir, "M018_T8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x/F024/T1/001.jpg", r"BP4D has subjects F001 to F023 .*; got F024 in T1. If this is BP4D\+"),
        ("x/M019_T6.csv", r"got M019 in T6"),
        ("x/F001/T9/001.jpg", r"got F001 in T9"),
        ("x/F001/T1/2440.png", r"found twice: .*T1 and .*T1: leave one"),
        ("x/F001_T1.csv", r"found twice: .*F001_T1.csv and .*F001_T1.csv"),
    ],
)
def test_other_sets_and_copies_twice_are_refused(name, message, manual_dir):
    write(manual_dir, {name: jpeg(1)})
    with pytest.raises(ValueError, match=message):
        layout.find(manual_dir)


@pytest.mark.parametrize(
    ("name", "message"), [("0000.jpg", "numbered from 1 on"), ("02440.jpg", "found twice")]
)
def test_frame_zero_and_a_number_twice_are_refused(name, message, manual_dir):
    write(manual_dir, {f"BP4D-training/F001/T1/{name}": jpeg(1)})
    with pytest.raises(ValueError, match=message):
        read(manual_dir)


def test_what_is_lacking_is_named(manual_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no table F001_T1.csv, .* lies nothing.\nRequest BP4D"):
        layout.find(tmp_path / "empty")
    write(tmp_path / "tables", {"F001_T1.csv": b"", "images.rar": b""})
    with pytest.raises(FileNotFoundError, match=r"no image in a folder F001/T1/.*; unpack images.rar first"):
        layout.find(tmp_path / "tables")


def test_links_and_paths_out_of_a_zip_are_refused(manual_dir, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../F001/T1/2440.jpg", b"")
    (tmp_path / "only").mkdir()
    (tmp_path / "evil.zip").rename(tmp_path / "only" / "evil.zip")
    with pytest.raises(ValueError, match="leads out of its folder"):
        layout.find(tmp_path / "only")
    (manual_dir / "BP4D-training" / "F002").symlink_to(manual_dir / "BP4D-training" / "F001")
    with pytest.raises(ValueError, match="F002: is a link"):
        layout.find(manual_dir)


def test_a_decompression_bomb_is_refused(manual_dir, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(ValueError, match=r"2440\.jpg: is refused"):
        read(manual_dir)


def test_tfds_finds_nothing_wrong(manual_dir, tfds_checks):
    tfds_checks(bp4d_dataset_builder.Builder, manual_dir, {"part1": 5, "part2": 6, "part3": 4})


def test_probes_find_what_they_need(manual_dir, tmp_path):
    from trainers import probe  # Here, since it takes long to import.

    faces = probe.load(build(manual_dir, tmp_path / "data"))
    assert tuple(faces.action_units) == labels.ACTION_UNITS
    assert faces.occurrence.shape == faces.coded.shape == (15, 27)
    assert not faces.coded.all()
    assert set(faces.subjects) == {b"F001", b"F004", b"M018"}


def test_on_beam_the_same_examples_and_counts(manual_dir, tmp_path, capsys):
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    builder = tfds.builder("bp4d", data_dir=tmp_path / "beam")
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_runner="DirectRunner")
    builder.download_and_prepare(download_config=config)
    on_beam = capsys.readouterr().out
    plain = build(manual_dir, tmp_path / "plain")
    tables = [
        [line for line in output.splitlines() if line.startswith(("F0", "M0", "AU", "total"))]
        for output in (on_beam, capsys.readouterr().out)
    ]
    assert tables[0] == tables[1] != []
    assert "skipped 1 (no image, known)" in on_beam
    one, other = examples(builder), examples(plain)
    assert one.keys() == other.keys()
    assert all(one[key]["image"] == other[key]["image"] for key in one)
