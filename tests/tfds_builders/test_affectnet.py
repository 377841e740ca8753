"""Small copies of AffectNet in each of its distributions, made up here, are built by TFDS and read back."""

import csv
import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders import archives
from tfds_builders.affectnet import affectnet_dataset_builder as affectnet

HEADER = [
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
]
POINTS = np.arange(136, dtype=np.float32).reshape(68, 2) / 4
POINTS_CELL = ";".join(map(str, POINTS.ravel()))


def picture(seed: int, kind: str = "JPEG", size: tuple[int, int] = (20, 24)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def name_of(number: int, suffix: str = "jpg") -> str:
    """56 hexadecimal digits, as AffectNet's names have."""
    return f"{number:056x}.{suffix}"


def row(
    file: str, expression: int, *, box=("1", "2", "10", "12"), affect=("0.5", "-0.25"), points=POINTS_CELL
):
    return [file, *box, points, str(expression), *affect]


def write(path: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def table(rows: list[list[str]], header: list[str] | None = HEADER) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows] if header else rows)
    return text.getvalue().encode()


def build(
    manual_dir: pathlib.Path, data_dir: pathlib.Path, config: str, **kwargs
) -> tfds.core.DatasetBuilder:
    builder = tfds.builder("affectnet", config=config, data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder: tfds.core.DatasetBuilder, split: str) -> dict[str, dict]:
    decoders = {"image": tfds.decode.SkipDecoding()}
    read = list(tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders)))
    by_file = {example["file"].decode(): example for example in read}
    assert len(by_file) == len(read)
    return by_file


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    (tmp_path / "manual").mkdir()
    return tmp_path / "manual"


IMAGES = "Manually_Annotated/Manually_Annotated_Images/"
TRAINING = "Manually_Annotated_file_lists/training.csv"
VALIDATION = "Manually_Annotated_file_lists/validation.csv"


def csv_copy() -> dict[str, bytes]:
    """One row of each peculiarity of the distribution of 2017, the list for validation without a header."""
    rows = [
        row(f"1/{name_of(0)}", 0),
        row(f"1/{name_of(1)}", 1, box=("NULL", "NULL", "10", "10")),
        row(f"1/{name_of(2)}", 2, box=("3", "4", "-5", "-6")),
        row(f"22/{name_of(3, 'tif')}", 3),
        row(f"22/{name_of(4, 'jpg')}", 4),  # On disk .JPG.
        row(f"22/{name_of(5)}", 5),  # Absent.
        row(f"1565/{name_of(6)}", 6, affect=("-2", "-2")),
        row(f"1565/{name_of(7, 'bmp')}", 7),
        row(f"1565/{name_of(8)}", 8),
        row(f"1565/{name_of(9)}", 9, affect=("-2", "-2")),
        row(f"1565/{name_of(10)}", 10, points=""),
        row(f"1/{name_of(11)}", 1, points="1;2;3"),
        row(f"103/{name_of(12)}", 2),  # Damaged.
        row(f"1/{name_of(0)}", 0),  # Again.
        row(f"1/{name_of(13)}", 5),  # A PNG, whatever its suffix says.
    ]
    return {
        TRAINING: table(rows, ["#" + HEADER[0], *HEADER[1:]]),
        VALIDATION: table([row(f"9/{name_of(20 + code)}", code) for code in range(11)], None),
        f"{IMAGES}1/{name_of(0)}": picture(0),
        f"{IMAGES}1/{name_of(1)}": picture(1),
        f"{IMAGES}1/{name_of(2)}": picture(2),
        f"{IMAGES}22/{name_of(3, 'tif')}": picture(3, "TIFF"),
        f"{IMAGES}22/{name_of(4, 'JPG')}": picture(4),
        f"{IMAGES}1565/{name_of(6)}": picture(6),
        f"{IMAGES}1565/{name_of(7, 'bmp')}": picture(7, "BMP"),
        f"{IMAGES}1565/{name_of(8)}": picture(8),
        f"{IMAGES}1565/{name_of(9)}": picture(9),
        f"{IMAGES}1565/{name_of(10)}": picture(10),
        f"{IMAGES}1/{name_of(11)}": picture(11),
        f"{IMAGES}103/{name_of(12)}": picture(12)[:-300],
        f"{IMAGES}1/{name_of(13)}": picture(13, "PNG"),
        f"{IMAGES}1/Thumbs.db": b"clutter",
        f"Automatically_Annotated_Images/1/{name_of(0)}": picture(99),
        **{f"{IMAGES}9/{name_of(20 + code)}": picture(code) for code in range(11)},
    }


CSV_COPY = csv_copy()


def test_the_list_of_2017_with_all_its_peculiarities(manual_dir, tmp_path, capsys):
    write(manual_dir, CSV_COPY)
    builder = build(manual_dir, tmp_path / "data", "csv_11")
    printed = capsys.readouterr().out
    train = examples(builder, "train")
    stored = {0: "1", 2: "1", 3: "22", 4: "22", 6: "1565", 7: "1565", 8: "1565", 9: "1565", 10: "1565"}
    codes = {0: 0, 2: 2, 3: 3, 4: 4, 6: 6, 7: 7, 8: 8, 9: 9, 10: 10, 11: 1, 13: 5}
    numbers = {int(file.split("/")[1].split(".")[0], 16): example for file, example in train.items()}
    assert {number: example["expression"] for number, example in numbers.items()} == codes
    assert {number: example["emotion"] for number, example in numbers.items()} == codes
    for number, folder in stored.items():
        assert numbers[number]["file"].decode().split("/")[0] == folder
    for number in (0, 2, 4, 6):
        assert numbers[number]["image"] == picture(number)  # The owner's own bytes.
    for number, kind in ((3, "TIFF"), (7, "BMP")):
        image = Image.open(io.BytesIO(numbers[number]["image"]))
        assert image.format == "PNG"
        np.testing.assert_array_equal(image, Image.open(io.BytesIO(picture(number, kind))))
    assert numbers[13]["image"] == picture(13, "PNG")
    np.testing.assert_array_equal(numbers[0]["landmarks"], POINTS)
    np.testing.assert_array_equal(numbers[0]["face_box"], [1, 2, 10, 12])
    np.testing.assert_array_equal(numbers[2]["face_box"], [3, 4, -5, -6])
    assert (numbers[0]["valence"], numbers[0]["arousal"]) == (0.5, -0.25)
    for number in (6, 9):
        assert np.isnan([numbers[number]["valence"], numbers[number]["arousal"]]).all()
    for number in (10, 11):
        assert np.isnan(numbers[number]["landmarks"]).all()
    for line in (
        f"skipped 1 (face box is NULL, known): 1/{name_of(1)}",
        f"skipped 1 (image is absent): 22/{name_of(5)}",
        f"skipped 1 (image does not decode): 103/{name_of(12)}",
        f"skipped 1 (listed twice): 1/{name_of(0)}",
        f"kept 1 (TIFF, converted to PNG): 22/{name_of(3, 'tif')}",
        f"kept 2 (without 68 landmarks): 1565/{name_of(10)}, 1/{name_of(11)}",
    ):
        assert line in printed.splitlines()
    assert ["happy", "1", "134,415", "-134,414"] in [line.split() for line in printed.splitlines()]
    assert sorted(example["emotion"] for example in examples(builder, "validation").values()) == list(
        range(11)
    )


NAMES = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt", "none", "uncertain"]


@pytest.mark.parametrize("classes", [7, 8])
def test_views_keep_the_order_of_the_codes_and_leave_out_the_rest(classes, manual_dir, tmp_path, capsys):
    write(manual_dir, CSV_COPY)
    builder = build(manual_dir, tmp_path / "data", f"csv_{classes}")
    assert builder.info.features["emotion"].names == NAMES[:classes]
    read = examples(builder, "validation").values()
    assert sorted(example["emotion"] for example in read) == list(range(classes))
    assert all(example["emotion"] == example["expression"] for example in read)
    lines = capsys.readouterr().out.splitlines()
    assert any(
        f"skipped {11 - classes} (not in the view of {classes} classes, known)" in line for line in lines
    )
    total = {7: ["total", "7", "3,500", "-3,493"], 8: ["total", "8", "4,000", "-3,992"]}[classes]
    assert total in [line.split() for line in lines]


def test_aligned_faces_come_from_the_aligner_and_have_a_config_of_their_own(manual_dir, tmp_path, capsys):
    write(manual_dir, CSV_COPY)
    given = []

    def aligner(image, landmarks):
        given.append((image, landmarks))
        return None if landmarks is None else np.full((256, 256, 3), int(image.mean()), np.uint8)

    builder = build(manual_dir, tmp_path / "data", "csv_11_aligned", aligner=aligner)
    read = examples(builder, "train")
    image = np.array(Image.open(io.BytesIO(read[f"1/{name_of(0)}"]["image"])))
    source = np.array(Image.open(io.BytesIO(picture(0))))
    assert image.shape == (256, 256, 3)
    np.testing.assert_allclose(image, int(source.mean()), atol=1)
    assert any(np.array_equal(i, source) and np.array_equal(p, POINTS) for i, p in given)
    assert sum(p is None for _, p in given) == 2
    assert f"skipped 2 (no face found): 1565/{name_of(10)}, 1/{name_of(11)}" in capsys.readouterr().out
    with pytest.raises(
        ValueError, match=r"csv_11 stores images as they are.* build affectnet/csv_11_aligned"
    ):
        build(manual_dir, tmp_path / "data", "csv_11", aligner=aligner)
    with pytest.raises(ValueError, match="csv_7_aligned stores aligned faces and needs an aligner"):
        build(manual_dir, tmp_path / "data", "csv_7_aligned")
    with pytest.raises(ValueError, match=r"expected a uint8 crop \(256, 256, 3\).* got uint8 \(24, 20, 3\)"):
        build(manual_dir, tmp_path / "data", "csv_7_aligned", aligner=lambda image, _: image)


def test_strict_and_unknown_configs(manual_dir, tmp_path):
    write(manual_dir, CSV_COPY)
    with pytest.raises(ValueError, match=r"happy: 1 read, 134,415 documented.* build without strict"):
        build(manual_dir, tmp_path / "data", "csv_7", strict=True)
    assert not tfds.builder("affectnet", data_dir=tmp_path / "data").is_prepared()
    with pytest.raises(ValueError, match=r"expected one of the configs csv_7, csv_7_aligned.* got 'csv_6'"):
        tfds.builder("affectnet/csv_6", data_dir=tmp_path / "data")
    assert tfds.builder("affectnet", data_dir=tmp_path / "data").builder_config.name == "csv_7"


def npy(value) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


def npy_copy() -> dict[str, bytes]:
    """Sparse ids, values as text and as numbers, of shape () and (1,); a val_set in a val_set."""
    files = {}
    for code in range(8):
        for folder, identity in (("train_set/", 5 * code + 7), ("val_set/val_set/", 700 - code)):
            values = {
                "exp": (np.array(str(code)), np.array([code]), np.array(float(code)))[code % 3],
                "val": np.array("-0.5") if code else np.float64(-2),
                "aro": np.array(["0.125"]),
                "lnd": POINTS.ravel() if code % 2 else np.array([str(x) for x in POINTS.ravel()]),
            }
            files[f"{folder}images/{identity}.jpg"] = picture(identity)
            for kind, value in values.items():
                files[f"{folder}annotations/{identity}_{kind}.npy"] = npy(value)
    files["train_set/images/999.jpg"] = picture(999)  # Without annotation.
    files["train_set/annotations/1000_exp.npy"] = npy(np.array("3"))  # Without image.
    del files["train_set/annotations/12_lnd.npy"]
    return files


NPY_COPY = npy_copy()


@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_the_npy_distribution(packing, manual_dir, tmp_path, capsys):
    if packing == "zip":
        with zipfile.ZipFile(manual_dir / "AffectNet.zip", "w") as archive:
            for name, data in NPY_COPY.items():
                archive.writestr(f"AffectNet/{name}", data)
    else:
        write(manual_dir, NPY_COPY)
    builder = build(manual_dir, tmp_path / "data", "npy_8")
    printed = capsys.readouterr().out
    train, validation = examples(builder, "train"), examples(builder, "validation")
    assert {int(file): example["emotion"] for file, example in train.items()} == {
        5 * code + 7: code for code in range(8)
    }
    assert {int(file): example["expression"] for file, example in validation.items()} == {
        700 - code: code for code in range(8)
    }
    assert train["22"]["image"] == picture(22)
    assert np.isnan(train["7"]["valence"])
    assert (train["22"]["valence"], train["22"]["arousal"]) == (-0.5, 0.125)
    assert np.isnan(train["12"]["landmarks"]).all()
    for file in ("17", "22"):
        np.testing.assert_array_equal(train[file]["landmarks"], POINTS)
    np.testing.assert_array_equal(train["7"]["face_box"], [-1] * 4)
    assert "skipped 1 (image without _exp.npy): 999" in printed
    assert "skipped 1 (image is absent): 1000" in printed
    assert ["contempt", "1", "499", "-498"] in [line.split() for line in printed.splitlines()]


def json_copy() -> dict[str, bytes]:
    files = {}
    for folder in ("train_set", "validation_set"):
        for code in range(11):
            meta = {"age": "", "valence": 0.5, "arousal": -2, "landmark-68": POINTS.tolist()}
            if code == 1:
                meta = {"valence": None, "landmark-68": []}
            values = {"human-label": code, "soft-label": [0.125] * 8, "subset": 0, "meta-data": meta}
            root = f"AffectNet+/human_annotated/{folder}"
            files[f"{root}/annotations/{code}.json"] = json.dumps(values).encode()
            files[f"{root}/images/{code}.jpg"] = picture(code)
    files["AffectNet+/human_annotated/train_set/images/99.jpg"] = picture(99)
    files["AffectNet+/no_human_annotated/train_set/annotations/5.json"] = b"{}"
    return files


JSON_COPY = json_copy()


def test_the_json_distribution(manual_dir, tmp_path, capsys):
    write(manual_dir, JSON_COPY)
    builder = build(manual_dir, tmp_path / "data", "json_11")
    train = examples(builder, "train")
    assert {int(file): example["expression"] for file, example in train.items()} == {c: c for c in range(11)}
    assert train["3"]["image"] == picture(3)
    assert train["3"]["valence"] == 0.5
    assert np.isnan([train["3"]["arousal"], train["1"]["valence"]]).all()
    np.testing.assert_array_equal(train["3"]["landmarks"], POINTS)
    assert np.isnan(train["1"]["landmarks"]).all()
    assert "skipped 1 (image without .json): 99" in capsys.readouterr().out


def changed_table(*rows: list[str], header: list[str] = HEADER) -> dict[str, bytes]:
    return CSV_COPY | {TRAINING: table(list(rows), header)}


FIRST = f"1/{name_of(0)}"
TRAIN_JSON = "AffectNet+/human_annotated/train_set/annotations/3.json"
BAD_COPIES = {
    "missing column": (
        "csv_7",
        changed_table(row(FIRST, 0)[:-1], header=HEADER[:-1]),
        "has no column arousal; its header is subDirectory_filePath",
    ),
    "row cut short": ("csv_7", changed_table(row(FIRST, 0)[:5]), "row 2: expected 9 cells; got 5"),
    "unknown code": (
        "csv_7",
        changed_table(row(FIRST, 0), row(FIRST, 11)),
        "row 3: expected an expression .*'11'",
    ),
    "code no number": (
        "csv_7",
        changed_table(row(FIRST, "x")),
        "row 2: expected a number as expression; got 'x'",
    ),
    "valence out of range": (
        "csv_7",
        changed_table(row(FIRST, 0, affect=("1.5", "0"))),
        "row 2: expected valence from -1 to 1.*'1.5'",
    ),
    "box no number": (
        "csv_7",
        changed_table(row(FIRST, 0, box=("a", "1", "1", "1"))),
        "row 2: expected a number as face_x; got 'a'",
    ),
    "path that climbs": (
        "csv_7",
        changed_table(row("../../x.jpg", 0)),
        r"row 2: the path '../../x.jpg' leads out",
    ),
    "absolute path": (
        "csv_7",
        changed_table(row("/etc/passwd", 0)),
        "row 2: the path '/etc/passwd' leads out",
    ),
    "two trees of images": (
        "csv_7",
        CSV_COPY | {f"cropped/{FIRST}": picture(0)},
        "row 2: .* may be .* leave one tree of images there",
    ),
    "two lists": (
        "csv_7",
        CSV_COPY | {"old/training.csv": CSV_COPY[TRAINING]},
        "expected one train part .*got 2",
    ),
    "no image": (
        "csv_7",
        {TRAINING: CSV_COPY[TRAINING], VALIDATION: CSV_COPY[VALIDATION]},
        r"nothing was read; 10 skipped \(image is absent\)",
    ),
    "npy pickle": (
        "npy_7",
        NPY_COPY | {"train_set/annotations/7_exp.npy": npy(np.array({"a": 1}, object))},
        r"7_exp.npy' is no plain .npy file \(.*allow_pickle",
    ),
    "npy cut short": (
        "npy_7",
        NPY_COPY | {"train_set/annotations/7_exp.npy": npy(np.array("0"))[:20]},
        "7_exp.npy' is no plain .npy file",
    ),
    "npy of two values": (
        "npy_7",
        NPY_COPY | {"train_set/annotations/7_exp.npy": npy(np.array([0, 1]))},
        r"7_exp.npy': expected one value; got an array of shape \(2,\)",
    ),
    "npy code of another view": (
        "npy_7",
        NPY_COPY | {"train_set/annotations/7_exp.npy": npy(np.array(11))},
        "7_exp.npy': expected an expression from 0",
    ),
    "json damaged": ("json_7", JSON_COPY | {TRAIN_JSON: b"{"}, "3.json' is no JSON"),
    "json key absent": (
        "json_7",
        JSON_COPY | {TRAIN_JSON: b'{"subset": 0}'},
        "3.json' has no human-label; got subset",
    ),
}


@pytest.mark.parametrize("case", BAD_COPIES)
def test_bad_copies_are_refused_by_name(case, manual_dir, tmp_path):
    config, files, message = BAD_COPIES[case]
    write(manual_dir, files)
    with pytest.raises(ValueError, match=message):
        build(manual_dir, tmp_path / "data", config)
    assert not tfds.builder("affectnet", config=config, data_dir=tmp_path / "data").is_prepared()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("csv_7", "Manually_Annotated_file_lists/training.csv"),
        ("npy_7", "train_set/ and val_set/"),
        ("json_7", "human_annotated/train_set/"),
    ],
)
def test_an_absent_copy_is_described(config, expected, manual_dir, tmp_path):
    write(manual_dir, {"notes.txt": b"", "other/training.csv": b"file,label\nx,1\n"})
    with pytest.raises(FileNotFoundError) as error:
        build(manual_dir, tmp_path / "data", config)
    for part in (expected, str(manual_dir), "mohammadmahoor.com", "--manual_dir"):
        assert part in str(error.value)
    write(manual_dir, {TRAINING: CSV_COPY[TRAINING]})
    if config == "csv_7":
        with pytest.raises(FileNotFoundError, match="no validation part of AffectNet"):
            build(manual_dir, tmp_path / "data", config)


def test_links_and_bombs_are_refused(manual_dir, tmp_path, monkeypatch):
    write(manual_dir, CSV_COPY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # The images have 480 pixels.
    with pytest.raises(archives.ArchiveError, match=r"is refused .*decompression bomb"):
        build(manual_dir, tmp_path / "data", "csv_7")
    (manual_dir / "link").symlink_to("/etc")
    with pytest.raises(archives.ArchiveError, match="'link' is a link"):
        build(manual_dir, tmp_path / "data", "csv_7")


def test_every_class_is_documented_for_every_config():
    for config in affectnet.CONFIGS:
        for split in affectnet.SPLITS:
            assert len(affectnet.FULL_COPY[config.layout][split]) >= config.classes
    totals = {
        (layout, split, n): sum(affectnet.FULL_COPY[layout][split][:n])
        for layout, split, n in (
            ("csv", "train", 7),
            ("csv", "train", 8),
            ("csv", "train", 11),
            ("npy", "validation", 8),
        )
    }
    assert list(totals.values()) == [283901, 287651, 414799, 3999]


def test_tfds_finds_nothing_wrong(manual_dir, tfds_checks):
    write(manual_dir, CSV_COPY)
    tfds_checks(affectnet.Builder, manual_dir, {"train": 7, "validation": 7})


def brightness(image, landmarks):
    """A crop that depends on the image, for faces with landmarks."""
    return None if landmarks is None else np.full((256, 256, 3), int(image.mean()), np.uint8)


@pytest.mark.parametrize("config", ["csv_11", "csv_8_aligned", "npy_7", "json_11_aligned"])
def test_on_beam_the_same_examples_and_counts(config, manual_dir, same_on_beam):
    write(manual_dir, {"csv": CSV_COPY, "npy": NPY_COPY, "json": JSON_COPY}[config.split("_")[0]])
    aligner = brightness if config.endswith("_aligned") else None
    printed = same_on_beam(manual_dir, f"affectnet/{config}", aligner=aligner)
    expected = {
        "csv_11": f"skipped 1 (image does not decode): 103/{name_of(12)}",
        "csv_8_aligned": f"skipped 1 (no face found): 1/{name_of(11)}",
        "npy_7": "skipped 1 (image without _exp.npy): 999",
        "json_11_aligned": "skipped 1 (image without .json): 99",
    }
    assert expected[config] in printed
