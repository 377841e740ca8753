"""Small copies of FER2013 in each of its packings, written here, are built by TFDS and read back."""

import csv
import io
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders.fer2013 import fer2013_dataset_builder

ROOT = pathlib.Path(__file__).parents[2]
REAL_COPY = ROOT.parent / "shared" / "data" / "fer2013.zip"

# Kaggle's folder names and the challenge's codes, each with the name in AffectNet's order.
FOLDERS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprise",
}
CODES = {0: "anger", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"}


def jpeg(seed: int, size: tuple[int, int] = (48, 48)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def copy_of_images() -> dict[str, bytes]:
    """Two training images and one of either test usage for each emotion."""
    files = {}
    for folder in FOLDERS:
        for name in ("train/{}/Training_1{}.jpg", "train/{}/Training_2{}.jpg"):
            files[name.format(folder, len(files))] = jpeg(len(files))
        for usage in ("PublicTest", "PrivateTest"):
            files[f"test/{folder}/{usage}_{len(files)}.jpg"] = jpeg(len(files))
    return files


def copy_of_rows() -> list[tuple[int, str, str]]:
    """The CSV's rows: for each code two training images and one of either test usage."""
    random = np.random.default_rng(0)
    usages = ("Training", "PublicTest", "Training", "PrivateTest")
    pixels = [" ".join(map(str, random.integers(0, 256, 48 * 48))) for _ in range(28)]
    return [(index % 7, pixels[index], usages[index // 7]) for index in range(28)]


def csv_bytes(rows: list[tuple], header: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue().encode()


def write_folder(path: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def write_zip(path: pathlib.Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_tar_gz(path: pathlib.Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def build(manual_dir: pathlib.Path, data_dir: pathlib.Path) -> tfds.core.DatasetBuilder:
    builder = tfds.builder("fer2013", data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder: tfds.core.DatasetBuilder, split: str, decode: bool = True) -> list[dict]:
    decoders = None if decode else {"image": tfds.decode.SkipDecoding()}
    return list(tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders)))


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    (tmp_path / "manual").mkdir()
    return tmp_path / "manual"


@pytest.mark.parametrize("packing", ["archive.zip", "fer2013.zip: fer2013/", "folder", "folder: a/b/"])
def test_images_keep_their_bytes_and_get_the_label_of_their_folder(packing, manual_dir, tmp_path):
    files = copy_of_images()
    where, _, top = packing.partition(": ")
    packed = {top + name: data for name, data in files.items()} | {
        "readme.txt": b"",
        "__MACOSX/train/sad/._a.jpg": b"",
    }
    write_folder(manual_dir, packed) if where == "folder" else write_zip(manual_dir / where, packed)
    builder = build(manual_dir, tmp_path / "data")
    names = builder.info.features["emotion"].names
    assert names == ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]
    read = {}
    for split in ("train", "test"):
        for example in examples(builder, split, decode=False):
            file = example["file"].decode()
            read[file] = example["image"]
            assert file.split("/")[0] == split
            assert names[example["emotion"]] == FOLDERS[file.split("/")[1]]
            usage = builder.info.features["usage"].int2str(example["usage"])
            assert usage == file.split("/")[2].split("_")[0]
    assert read == files


def test_decoded_images_and_the_supervised_pair(manual_dir, tmp_path):
    files = copy_of_images()
    write_zip(manual_dir / "archive.zip", files)
    builder = build(manual_dir, tmp_path / "data")
    for example in examples(builder, "test"):
        expected = np.array(Image.open(io.BytesIO(files[example["file"].decode()])))
        # TensorFlow's inverse cosine transform is a faster one than Pillow's: off by a few grey levels.
        np.testing.assert_allclose(example["image"][..., 0].astype(int), expected, atol=4)
    image, emotion = next(iter(builder.as_dataset(split="train", as_supervised=True)))
    assert image.shape == (48, 48, 1)
    assert emotion.shape == ()


@pytest.mark.parametrize("packing", ["fer2013.csv", "icml_face_data.csv", "c.zip", "fer2013.tar.gz"])
def test_rows_of_the_csv_become_their_pixels(packing, manual_dir, tmp_path):
    rows = copy_of_rows()
    table = csv_bytes(rows)
    if packing == "icml_face_data.csv":
        table = csv_bytes([(e, u, p) for e, p, u in rows], ("emotion", " Usage", " pixels"))
    if packing == "c.zip":
        write_zip(manual_dir / packing, {"x/fer2013.csv": table, "x/icml_face_data.csv": table})
    elif packing == "fer2013.tar.gz":
        write_tar_gz(manual_dir / packing, {"fer2013/README": b"", "fer2013/fer2013.csv": table})
    else:
        write_folder(manual_dir, {packing: table})
    builder = build(manual_dir, tmp_path / "data")
    info = builder.info
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 14, "test": 14}
    seen = set()
    for example in examples(builder, "train") + examples(builder, "test"):
        name, line = example["file"].decode().split(":")
        code, pixels, usage = rows[int(line) - 2]
        seen.add(int(line))
        assert name == (packing if packing.endswith(".csv") else "fer2013.csv")
        assert info.features["emotion"].int2str(example["emotion"]) == CODES[code]
        assert info.features["usage"].int2str(example["usage"]) == usage
        np.testing.assert_array_equal(example["image"].ravel(), [int(pixel) for pixel in pixels.split()])
    assert seen == set(range(2, 30))


def test_two_builds_give_one_order_whatever_the_packing(manual_dir, tmp_path):
    files = copy_of_images()
    write_zip(manual_dir / "archive.zip", files)
    write_folder(tmp_path / "unpacked", {f"fer2013/{name}": data for name, data in files.items()})
    orders = []
    for data_dir, manual in (("a", manual_dir), ("b", manual_dir), ("c", tmp_path / "unpacked")):
        builder = build(manual, tmp_path / data_dir)
        orders.append([example["file"] for example in examples(builder, "train")])
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] != sorted(orders[0])  # TFDS shuffles by the hash of the key.


def test_the_table_compares_the_copy_with_a_full_one(manual_dir, tmp_path, capsys):
    write_zip(manual_dir / "archive.zip", copy_of_images())
    build(manual_dir, tmp_path / "data")
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed.count(["disgust", "2", "436", "-434"]) == 1  # train
    assert printed.count(["disgust", "2", "111", "-109"]) == 1  # test
    assert printed.count(["total", "14", "28,709", "-28,695"]) == 1
    assert printed.count(["total", "14", "7,178", "-7,164"]) == 1


def test_test_images_without_the_usual_names_have_no_usage(manual_dir, tmp_path):
    files = {
        name.replace("PublicTest_", "im").replace("Training_", ""): data
        for name, data in copy_of_images().items()
    }
    write_zip(manual_dir / "archive.zip", files)
    builder = build(manual_dir, tmp_path / "data")
    assert {example["usage"] for example in examples(builder, "train")} == {0}
    assert sorted(example["usage"] for example in examples(builder, "test")) == [-1] * 7 + [2] * 7


def test_it_finds_the_copy_beside_other_archives(manual_dir, tmp_path):
    write_zip(manual_dir / "a.zip", {"x/images/1.jpg": jpeg(0), "x/au.csv": b"file,subject,AU1\n1.jpg,a,0\n"})
    (manual_dir / "broken.zip").write_bytes(b"PK")
    write_zip(manual_dir / "f.zip", copy_of_images())
    assert build(manual_dir, tmp_path / "data").info.splits["train"].num_examples == 14


IMAGES = copy_of_images()
ROWS = copy_of_rows()
BAD_IMAGES = {
    "unknown emotion": (
        IMAGES | {"train/contempt/Training_9.jpg": jpeg(9)},
        r"'train/contempt/Training_9.jpg': expected train/<emotion>/<image>.* got 'contempt': rename",
    ),
    "image outside the folders": (
        IMAGES | {"test/x.jpg": jpeg(9)},
        r"'test/x.jpg': expected test/<emotion>/<image>",
    ),
    "image too deep": (
        IMAGES | {"test/sad/a/x.jpg": jpeg(9)},
        r"'test/sad/a/x.jpg': expected test/<emotion>",
    ),
    "empty class": (
        {name: data for name, data in IMAGES.items() if not name.startswith("test/sad")},
        r"the split test has no image of sad: the copy is not complete",
    ),
    "no test split": (
        {name: data for name, data in IMAGES.items() if name.startswith("train")},
        r"the split test has no image of neutral, happy, sad",
    ),
    "image cut short": (
        IMAGES | {"train/sad/Training_9.jpg": jpeg(9)[:-300]},
        r"'train/sad/Training_9.jpg' does not decode",
    ),
    "image empty": (
        IMAGES | {"test/sad/PublicTest_9.jpg": b""},
        r"'test/sad/PublicTest_9.jpg' does not decode",
    ),
    "other size": (
        IMAGES | {"test/sad/PublicTest_9.jpg": jpeg(9, (64, 48))},
        r"'test/sad/PublicTest_9.jpg': expected 48x48 pixels; got 64x48",
    ),
    "test image in train": (
        IMAGES | {"train/sad/PublicTest_9.jpg": jpeg(9)},
        r"'train/sad/PublicTest_9.jpg': the name says PublicTest, but the folder train/ is for Training",
    ),
}
PIXELS = ROWS[0][1]
BAD_TABLES = {
    "too few pixels": ([*ROWS, (0, "1 2 3", "Training")], r"row 30: expected 2304 pixels; got 3"),
    "pixel out of range": ([*ROWS, (0, "256 " * 2304, "Training")], r"row 30: pixels must be .* 0 to 255"),
    "pixel no number": ([(0, "x " * 2304, "PublicTest"), *ROWS], r"row 2: pixels must be .*'x'"),
    "bad code": ([*ROWS, (7, PIXELS, "Training")], r"row 30: expected an emotion from 0 to 6; got '7'"),
    "bad usage": ([*ROWS, (0, PIXELS, "Test")], r"row 30: expected a Usage of Training, .*; got 'Test'"),
    "cut in a row": ([*ROWS, (0, PIXELS[:100])], r"row 30: expected 3 cells; got 2: the file is truncated"),
    "empty class": ([row for row in ROWS if row[0] != 1], r"the split train has no image of disgust"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_folders_are_refused_by_name(case, manual_dir, tmp_path):
    files, message = BAD_IMAGES[case]
    write_zip(manual_dir / "archive.zip", files)
    with pytest.raises(ValueError, match=message):
        build(manual_dir, tmp_path / "data")
    assert not tfds.builder("fer2013", data_dir=tmp_path / "data").is_prepared()


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_by_row(case, manual_dir, tmp_path):
    rows, message = BAD_TABLES[case]
    write_folder(manual_dir, {"fer2013.csv": csv_bytes(rows)})
    with pytest.raises(ValueError, match=message):
        build(manual_dir, tmp_path / "data")


@pytest.mark.parametrize(
    ("table", "got"), [(b"emotion,pixels\n0,1 2\n", "emotion, pixels"), (b"", "an empty file")]
)
def test_a_table_without_its_columns_is_refused(table, got, manual_dir, tmp_path):
    write_folder(manual_dir, {"fer2013.csv": table})
    with pytest.raises(
        ValueError, match=rf"'fer2013.csv' has no column .*usage; .* got {got}: get the original"
    ):
        build(manual_dir, tmp_path / "data")


def test_nothing_found_says_what_was_looked_for_and_where_to_get_it(manual_dir, tmp_path):
    write_folder(manual_dir, {"notes.txt": b"", "train/1/a.jpg": jpeg(0)})
    with pytest.raises(FileNotFoundError) as error:
        build(manual_dir, tmp_path / "data")
    for part in (str(manual_dir), "train/<emotion>/*.jpg", "fer2013.csv", "msambare/fer2013", "--manual_dir"):
        assert part in str(error.value)
    with pytest.raises(AssertionError, match="msambare/fer2013"):  # TFDS's own error, with our instructions.
        build(tmp_path / "absent", tmp_path / "data")


@pytest.mark.parametrize("name", ["archive.zip", "fer2013.tar.gz"])
def test_truncated_archives_are_named(name, manual_dir, tmp_path):
    write = write_zip if name.endswith(".zip") else write_tar_gz
    write(manual_dir / name, {"fer2013.csv": csv_bytes(ROWS)})
    data = (manual_dir / name).read_bytes()
    (manual_dir / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=rf"{name}: cannot be read .* truncated or damaged: get it again"):
        build(manual_dir, tmp_path / "data")


def test_several_copies_are_named(manual_dir, tmp_path):
    write_zip(manual_dir / "archive.zip", IMAGES)
    write_folder(manual_dir, {f"old/{name}": data for name, data in IMAGES.items()})
    write_folder(manual_dir, {"fer2013.csv": csv_bytes(ROWS)})
    with pytest.raises(ValueError, match=r"expected one copy of FER2013 in .*; got 3") as error:
        build(manual_dir, tmp_path / "data")
    for part in (f"{manual_dir}: old", f"{manual_dir}: fer2013.csv", f"{manual_dir / 'archive.zip'}: ."):
        assert part in str(error.value)
    shutil.rmtree(manual_dir / "old")
    (manual_dir / "fer2013.csv").unlink()
    build(manual_dir, tmp_path / "data")


def test_importing_is_cheap_and_the_command_line_builds_from_the_folder(manual_dir, tmp_path):
    write_zip(manual_dir / "archive.zip", IMAGES)
    # `tfds` itself also imports its other subcommands, with packages that building does not need.
    script = f"""
import sys
import tfds_builders
assert "tensorflow" not in sys.modules
import simple_parsing
from tensorflow_datasets.scripts.cli import build
parser = simple_parsing.ArgumentParser()
parser.add_arguments(build.Args, dest="args")
for dataset in (["tfds_builders/fer2013"], ["fer2013", "--imports", "tfds_builders"]):
    paths = ["--manual_dir", {str(manual_dir)!r}, "--data_dir", {str(tmp_path)!r} + "/" + str(len(dataset))]
    parser.parse_args(dataset + paths).args.execute()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    for data_dir in ("1", "3"):
        assert (
            tfds.load("fer2013", split="train", data_dir=tmp_path / data_dir, download=False).cardinality()
            == 14
        )


@pytest.mark.skipif(not REAL_COPY.exists(), reason="needs ../shared/data/fer2013.zip, the public FER2013")
def test_the_real_copy_has_the_published_counts(tmp_path):
    builder = build(REAL_COPY.parent, tmp_path)
    order = ["anger", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    counts, usages = {}, {}
    for split in ("train", "test"):
        read = examples(builder, split)
        labels = np.bincount([example["emotion"] for example in read], minlength=7)
        counts[split] = [int(labels[builder.info.features["emotion"].str2int(name)]) for name in order]
        usages[split] = np.bincount([example["usage"] for example in read], minlength=3).tolist()
        assert len({example["file"] for example in read}) == len(read)
    assert counts["train"] == [3995, 436, 4097, 7215, 4965, 4830, 3171]
    assert counts["test"] == [958, 111, 1024, 1774, 1233, 1247, 831]
    assert usages == {"train": [28709, 0, 0], "test": [0, 3589, 3589]}


FERPLUS_HEADER = (
    *("Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"),
    *("contempt", "unknown", "NF"),
)
# Votes, and what FER+'s rule makes of them, worked out by hand.
VOTES = [
    ((10, 0, 0, 0, 0, 0, 0, 0, 0, 0), "neutral"),
    ((0, 9, 0, 0, 0, 0, 0, 0, 1, 0), "happy"),
    ((0, 0, 6, 0, 0, 0, 4, 0, 0, 0), "surprise"),
    ((0, 0, 0, 8, 2, 0, 0, 0, 0, 0), "sad"),
    ((0, 1, 1, 1, 4, 1, 1, 0, 1, 0), "anger"),  # The single votes are dropped, so 4 of 4.
    ((1, 0, 0, 0, 0, 5, 0, 0, 4, 0), "disgust"),  # 5 of 9.
    ((0, 0, 2, 0, 0, 0, 6, 0, 2, 0), "fear"),
    ((2, 0, 0, 0, 0, 0, 0, 8, 0, 0), "contempt"),
    ((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), "no majority"),  # Half is not more than half.
    ((4, 0, 0, 3, 3, 0, 0, 0, 0, 0), "no majority"),
    ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "no majority"),
    ((1, 0, 0, 0, 0, 0, 0, 0, 9, 0), "unknown"),
    ((4, 0, 0, 0, 0, 0, 0, 0, 0, 6), "NF"),
    ((0, 0, 0, 0, 0, 0, 0, 0, 0, 10), "removed by FER+"),
]


def ferplus_rows() -> list[tuple]:
    """A row for each of `copy_of_rows`; the image name is empty where FER+ removed the image."""
    rows = []
    for index, (_, _, usage) in enumerate(copy_of_rows()):
        votes, expected = VOTES[index % len(VOTES)]
        rows.append((usage, "" if expected == "removed by FER+" else f"fer{index:07d}.png", *votes))
    return rows


def build_ferplus(manual_dir: pathlib.Path, data_dir: pathlib.Path, **kwargs) -> tfds.core.DatasetBuilder:
    builder = tfds.builder("fer2013", config="ferplus", data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def test_ferplus_relabels_the_rows_by_the_majority_of_votes(manual_dir, tmp_path, capsys):
    rows = copy_of_rows()
    write_folder(
        manual_dir,
        {"fer2013.csv": csv_bytes(rows), "x/FER2013new.csv": csv_bytes(ferplus_rows(), FERPLUS_HEADER)},
    )
    write_zip(manual_dir / "archive.zip", copy_of_images())  # Of no use here, and in nobody's way.
    builder = build_ferplus(manual_dir, tmp_path / "data", strict=True)
    names = builder.info.features["emotion"].names
    assert names == ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"]
    read = {
        int(e["file"].decode().split(":")[1]) - 2: e
        for split in ("train", "test")
        for e in examples(builder, split)
    }
    expected = {index: VOTES[index % len(VOTES)] for index in range(len(rows))}
    assert {index: names[example["emotion"]] for index, example in read.items()} == {
        index: emotion for index, (_, emotion) in expected.items() if emotion in names
    }
    for index, example in read.items():
        assert tuple(example["votes"]) == expected[index][0]
        assert builder.info.features["usage"].int2str(example["usage"]) == rows[index][2]
        np.testing.assert_array_equal(example["image"].ravel(), [int(p) for p in rows[index][1].split()])
    printed = capsys.readouterr().out
    assert "skipped 6 (no majority, known): fer2013.csv:10, fer2013.csv:11, fer2013.csv:12, ..." in printed
    for reason, line in (("unknown", 13), ("NF", 14), ("removed by FER+", 15)):
        assert f"skipped 2 ({reason}, known): fer2013.csv:{line}, fer2013.csv:{line + 14}\n" in printed


GOOD_VOTES = ferplus_rows()
BAD_VOTES = {
    "header": (
        csv_bytes(GOOD_VOTES, FERPLUS_HEADER[:-1]),
        r"'fer2013new.csv': expected the header usage,image name",
    ),
    "cell": (
        csv_bytes([(*GOOD_VOTES[0][:-1], "x")], FERPLUS_HEADER),
        r"row 2: expected Usage, Image name and 10",
    ),
    "too few rows": (
        csv_bytes(GOOD_VOTES[:-1], FERPLUS_HEADER),
        r"fer2013.csv:29 is of PrivateTest, .* no row",
    ),
    "too many rows": (
        csv_bytes([*GOOD_VOTES, GOOD_VOTES[0]], FERPLUS_HEADER),
        r"has 14 rows of the split train.* 15:",
    ),
    "other order": (
        csv_bytes(GOOD_VOTES[::-1], FERPLUS_HEADER),
        r"fer2013.csv:2 is of Training, .* PrivateTest",
    ),
}


@pytest.mark.parametrize("case", BAD_VOTES)
def test_votes_that_are_not_those_of_the_rows_are_refused(case, manual_dir, tmp_path):
    table, message = BAD_VOTES[case]
    write_folder(manual_dir, {"fer2013.csv": csv_bytes(ROWS), "fer2013new.csv": table})
    with pytest.raises(ValueError, match=message):
        build_ferplus(manual_dir, tmp_path / "data")


def test_ferplus_says_which_of_its_two_files_is_absent(manual_dir, tmp_path):
    write_zip(manual_dir / "archive.zip", IMAGES)
    with pytest.raises(FileNotFoundError, match=r"(?s)no CSV of FER2013 in .*fer2013.csv of the challenge"):
        build_ferplus(manual_dir, tmp_path / "data")
    write_folder(manual_dir, {"fer2013.csv": csv_bytes(ROWS)})
    with pytest.raises(FileNotFoundError, match=r"(?s)no fer2013new.csv in .*github.com/microsoft/FERPlus"):
        build_ferplus(manual_dir, tmp_path / "data")


def test_strict_refuses_a_copy_that_is_not_full(manual_dir, tmp_path):
    write_zip(manual_dir / "archive.zip", IMAGES)
    builder = tfds.builder("fer2013", data_dir=tmp_path / "data", strict=True)
    with pytest.raises(ValueError, match=r"\(strict\): neutral: 2 read, 4,965 documented"):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))


def test_tfds_finds_nothing_wrong(manual_dir, tfds_checks):
    write_folder(manual_dir, IMAGES)
    tfds_checks(fer2013_dataset_builder.Builder, manual_dir, {"train": 14, "test": 14})


@pytest.mark.parametrize("config", ["default", "ferplus"])
def test_on_beam_the_same_examples_and_counts(config, manual_dir, same_on_beam):
    if config == "default":
        write_zip(manual_dir / "archive.zip", IMAGES)
    else:
        tables = {"fer2013.csv": csv_bytes(ROWS), "fer2013new.csv": csv_bytes(GOOD_VOTES, FERPLUS_HEADER)}
        write_folder(manual_dir, tables)
    printed = [line.split() for line in same_on_beam(manual_dir, f"fer2013/{config}")]
    if config == "default":
        assert printed.count(["total", "14", "28,709", "-28,695"]) == 1
    else:
        assert ["contempt", "2", "unknown"] in printed or ["contempt", "1", "unknown"] in printed


def test_on_beam_a_copy_without_an_emotion_is_refused(manual_dir, tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    files, message = BAD_IMAGES["empty class"]
    write_zip(manual_dir / "archive.zip", files)
    builder = tfds.builder("fer2013", data_dir=tmp_path / "data")
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_runner="DirectRunner")
    with pytest.raises(ValueError, match=message):
        builder.download_and_prepare(download_config=config)
    assert not tfds.builder("fer2013", data_dir=tmp_path / "data").is_prepared()
