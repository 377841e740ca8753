"""Small data sets of images and a CSV, written here, are built by TFDS and read back, or refused by row."""

import io
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders.action_unit_folder import action_unit_folder_dataset_builder

ROOT = pathlib.Path(__file__).parents[2]
REAL_COPY = ROOT.parent / "shared" / "data" / "faces_au.zip"


def encode(seed: int, kind: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


ANN_1 = encode(1, "JPEG", (20, 30))
ANN_2 = encode(2, "PNG", (8, 9, 3))
BOB_1 = encode(3, "JPEG", (16, 16, 3))
BMP = encode(4, "BMP", (4, 4))
TABLE = """\
file,subject,emotion,sequence,frame,AU4,AU01,note
ann_1.jpg,ann,happy,talk,7,0,1,x
ann_2.png,ann,,,,,1,
b/bob 1.jpg,bob,"sad, then angry",,12,1.0,,y
"""
FILES = {
    "au.csv": TABLE.encode(),
    "images/ann_1.jpg": ANN_1,
    "images/ann_2.png": ANN_2,
    "images/b/bob 1.jpg": BOB_1,
}
SIMPLE = {"au.csv": b"file,subject,AU1\nx.png,a,1\n", "x.png": ANN_2}


def write_folder(path: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def write_zip(path: pathlib.Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def build(manual_dir, data_dir, name="action_unit_folder", mode="reuse_dataset_if_exists", **kwargs):
    builder = tfds.builder(name, data_dir=data_dir, **kwargs)
    config = tfds.download.DownloadConfig(
        manual_dir=manual_dir, download_mode=tfds.download.GenerateMode(mode)
    )
    builder.download_and_prepare(download_config=config)
    return builder


def examples(builder: tfds.core.DatasetBuilder, decode: bool = True) -> list[dict]:
    decoders = None if decode else {"image": tfds.decode.SkipDecoding()}
    return list(tfds.as_numpy(builder.as_dataset(split="train", decoders=decoders)))


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    (tmp_path / "manual").mkdir()
    return tmp_path / "manual"


@pytest.mark.parametrize(
    "layout", ["faces.zip", "faces.zip: top/faces/", "folder: faces/", "folder", "beside"]
)
def test_every_value_of_the_table_and_every_byte_of_the_images_is_kept(layout, manual_dir, tmp_path):
    where, _, top = layout.partition(": ")
    strip = "images/" if where == "beside" else ""
    files = {top + name.removeprefix(strip): data for name, data in FILES.items()}
    write_zip(manual_dir / where, files) if where == "faces.zip" else write_folder(manual_dir, files)
    builder = build(manual_dir, tmp_path / "data")
    assert builder.info.metadata["action_units"] == [4, 1]
    assert list(builder.info.splits) == ["train"]
    read = {example["file"].decode(): example for example in examples(builder, decode=False)}
    assert {file: example["image"] for file, example in read.items()} == {
        "ann_1.jpg": ANN_1,
        "ann_2.png": ANN_2,
        "b/bob 1.jpg": BOB_1,
    }
    columns = ("subject", "emotion", "sequence", "frame")
    assert {file: [example[column] for column in columns] for file, example in read.items()} == {
        "ann_1.jpg": [b"ann", b"happy", b"talk", 7],
        "ann_2.png": [b"ann", b"", b"", 0],
        "b/bob 1.jpg": [b"bob", b"sad, then angry", b"", 12],
    }
    units = {
        file: (example["action_units"]["occurrence"].tolist(), example["action_units"]["coded"].tolist())
        for file, example in read.items()
    }
    assert units == {
        "ann_1.jpg": ([0, 1], [True, True]),
        "ann_2.png": ([0, 1], [False, True]),
        "b/bob 1.jpg": ([1, 0], [True, False]),
    }
    shapes = {example["file"].decode(): example["image"].shape for example in examples(builder)}
    assert shapes == {"ann_1.jpg": (20, 30, 3), "ann_2.png": (8, 9, 3), "b/bob 1.jpg": (16, 16, 3)}


def test_headers_as_spreadsheets_write_them(manual_dir, tmp_path):
    table = '\ufeff"File",AU12 ,SUBJECT,au04\r\nx.png,1,ann,\r\n\r\n'
    write_folder(manual_dir, {"table.CSV": table.encode(), "x.png": ANN_2})
    builder = build(manual_dir, tmp_path / "data")
    assert builder.info.metadata["action_units"] == [12, 4]
    (example,) = examples(builder)
    assert example["subject"] == b"ann"
    assert example["action_units"]["coded"].tolist() == [True, False]


def test_it_loads_later_without_the_manual_directory_or_this_package(manual_dir, tmp_path):
    write_zip(manual_dir / "faces.zip", FILES)
    build(manual_dir, tmp_path / "data", "action_unit_folder/faces")
    (manual_dir / "faces.zip").unlink()
    script = f"""
import tensorflow_datasets as tfds
data_dir = {str(tmp_path / "data")!r}
dataset, info = tfds.load("action_unit_folder/faces", split="train", data_dir=data_dir, with_info=True)
assert info.metadata["action_units"] == [4, 1]
assert sorted(example["file"] for example in tfds.as_numpy(dataset))[0] == b"ann_1.jpg"
batch = next(iter(dataset.take(2).map(lambda example: example["action_units"]).batch(2)))
assert batch["occurrence"].shape == (2, 2)
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    _, info = tfds.load("action_unit_folder/faces", data_dir=tmp_path / "data", with_info=True)
    assert info.metadata["action_units"] == [4, 1]


def test_two_builds_give_one_order(manual_dir, tmp_path):
    rows = [f"{index}.png" for index in range(20)]
    table = "file,subject,AU1\n" + "".join(f"{row},a,1\n" for row in rows)
    write_zip(manual_dir / "faces.zip", {"au.csv": table.encode(), **dict.fromkeys(rows, ANN_2)})
    write_folder(tmp_path / "unpacked" / "faces", {"au.csv": table.encode(), **dict.fromkeys(rows, ANN_2)})
    orders = []
    for data_dir, manual in (("a", manual_dir), ("b", manual_dir), ("c", tmp_path / "unpacked")):
        orders.append([example["file"] for example in examples(build(manual, tmp_path / data_dir))])
    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0]) == sorted(row.encode() for row in rows)
    assert orders[0] != sorted(orders[0])


def test_what_is_no_such_data_set_is_ignored(manual_dir, tmp_path):
    write_zip(
        manual_dir / "fer2013.zip", {"train/sad/1.jpg": ANN_1, "fer2013.csv": b"emotion,pixels,Usage\n"}
    )
    write_folder(
        manual_dir, {"openface.csv": b"frame, AU01_r, AU01_c\n0, 0.1, 0\n", "other/list.csv": b"file\nx\n"}
    )
    (manual_dir / "broken.zip").write_bytes(b"PK")
    write_zip(manual_dir / "faces.zip", SIMPLE)
    assert build(manual_dir, tmp_path / "data").info.metadata["source"] == "faces.zip"


def test_several_data_sets_are_named_and_chosen_by_config_or_source(manual_dir, tmp_path):
    write_zip(manual_dir / "My faces.zip", SIMPLE)
    write_zip(manual_dir / "b.zip", FILES)
    write_folder(manual_dir / "b", SIMPLE | {"au.csv": b"file,subject,AU9\nx.png,a,1\n"})
    with pytest.raises(ValueError, match=r"expected one CSV of action units in .*; got 3") as error:
        build(manual_dir, tmp_path / "data")
    for part in (
        "b, with b/au.csv",
        "b.zip, with au.csv",
        "My faces.zip, with au.csv",
        "--config",
        '{"source": "b"}',
    ):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="got 2"):
        build(manual_dir, tmp_path / "data", "action_unit_folder/b")
    with pytest.raises(
        FileNotFoundError, match=r"no c.zip or c/ .* \(others with such a CSV: b, My faces.zip, b.zip\)"
    ):
        build(manual_dir, tmp_path / "data", "action_unit_folder/c")

    units = {}
    for kwargs in ({"source": "b.zip"}, {"source": "My faces.zip"}):
        builder = build(manual_dir, tmp_path / "data", **kwargs)
        units[builder.builder_config.name] = builder.info.metadata["action_units"]
    assert units == {"b": [4, 1], "My_faces": [1]}
    # Each has its own place: the second build has not disturbed the first.
    assert tfds.builder("action_unit_folder/b", data_dir=tmp_path / "data").info.metadata["action_units"] == [
        4,
        1,
    ]
    by_name = build(manual_dir, tmp_path / "other", "action_unit_folder/My_faces")
    assert by_name.info.metadata["source"] == "My faces.zip"
    with pytest.raises(ValueError, match="pass one of them"):
        tfds.builder("action_unit_folder/b", source="b.zip")


def test_a_second_data_set_is_never_taken_for_the_first(manual_dir, tmp_path):
    write_zip(manual_dir / "one.zip", SIMPLE)
    write_zip(tmp_path / "second" / "two.zip", FILES)
    build(manual_dir, tmp_path / "data")
    build(manual_dir, tmp_path / "data")
    with pytest.raises(
        ValueError, match=r"was built from another CSV than .*two.zip: au.csv.*action_unit_folder/two"
    ):
        build(tmp_path / "second", tmp_path / "data")
    build(tmp_path / "second", tmp_path / "data", "action_unit_folder/two")
    rebuilt = build(tmp_path / "second", tmp_path / "data", mode="reuse_cache_if_exists")
    assert rebuilt.info.metadata["action_units"] == [4, 1]
    assert tfds.builder("action_unit_folder", data_dir=tmp_path / "data").info.metadata["action_units"] == [
        4,
        1,
    ]
    # The build stays readable when its source has gone.
    (tmp_path / "second" / "two.zip").unlink()
    assert len(examples(build(tmp_path / "second", tmp_path / "data"))) == 3


def test_two_tables_in_one_zip_are_refused(manual_dir, tmp_path):
    write_zip(manual_dir / "faces.zip", SIMPLE | {"old/au.csv": SIMPLE["au.csv"]})
    with pytest.raises(ValueError, match=r"(?s)got 2.*with au.csv.*with old/au.csv.*leave one there"):
        build(manual_dir, tmp_path / "data", "action_unit_folder/faces")


def table(*rows: str, header: str = "file,subject,AU1,AU2", ok: str = "ok.jpg,ann,0,") -> dict[str, bytes]:
    return {"au.csv": "\n".join([header, ok, *rows]).encode(), "ok.jpg": ANN_1, "x.jpg": ANN_1}


BAD = {
    "climbing": (table("../../x,a,0,0"), r"'au.csv', row 3: the path '../../x' leads out of its folder"),
    "climbing back": (table("..\\x.jpg,a,0,0"), r"row 3: the path '..\\\\x.jpg' leads out"),
    "absolute": (table("x.jpg,a,0,0", "/etc/passwd,a,0,0"), r"row 4: the path '/etc/passwd' leads out"),
    "drive": (table("C:\\x.jpg,a,0,0"), r"row 3: the path 'C:\\\\x.jpg' leads out"),
    "missing": (table("y.jpg,a,0,0"), r"row 3: there is no image 'y.jpg'; looked for y.jpg and images/y.jpg"),
    "twice": (table("x.jpg,a,0,0", "", "ok.jpg,a,0,0"), r"row 5: 'ok.jpg' is already in row 2: keep one row"),
    "twice, written otherwise": (table("./ok.jpg,a,0,0"), r"row 3: './ok.jpg' is already in row 2"),
    "intensity": (table("x.jpg,a,0,3"), r"row 3: expected 0, 1 or nothing in column AU2; got '3': code"),
    "9 for not coded": (table("x.jpg,a,9,0"), r"row 3: expected 0, 1 or nothing in column AU1; got '9'"),
    "word": (table("x.jpg,a,yes,0"), r"row 3: expected 0, 1 or nothing in column AU1; got 'yes'"),
    "no file": (table(",a,0,0"), r"row 3: the column 'file' is empty"),
    "no subject": (table("x.jpg, ,0,0"), r"row 3: the column 'subject' is empty"),
    "short row": (table("x.jpg,a,0"), r"row 3: expected 4 cells, as in the header; got 3"),
    "no file column": (table(header="image,subject,AU1,AU2"), r"has no column 'file'; its header is image"),
    "no subject column": (table(header="file,person,AU1,AU2"), r"has no column 'subject'; its header is"),
    "no AU column": (table(header="file,subject,smile,frown"), r"has no column AU1, AU2, ...; its header"),
    "AU twice": (table(header="file,subject,AU1,AU01"), r"has two columns 'AU01': remove one"),
    "file twice": (table(header="file,subject,AU1,File"), r"has two columns 'file': remove one"),
    "AU with a suffix": (table(header="file,subject,AU1,AU2_c"), r"the column 'au2_c' is not AU and a"),
    "AU with a blank": (table(header="file,subject,AU1,AU 2"), r"the column 'au 2' is not AU and a number"),
    "frame": (table(header="file,subject,AU1,frame", ok="ok.jpg,a,1,x"), r"row 2: expected a whole number"),
    "no rows": ({"au.csv": b"file,subject,AU1\n"}, r"has a header but no row"),
    "not UTF-8": ({"au.csv": b"file,subject,AU1\nx.jpg,Andr\xe9,0"}, r"'au.csv': is not a CSV in UTF-8"),
    "image cut short": (table("x.jpg,a,0,0") | {"x.jpg": ANN_1[:-200]}, r"'x.jpg' does not decode"),
    "image of another kind": (table("x.jpg,a,0,0") | {"x.jpg": BMP}, r"'x.jpg' does not decode as a JPEG"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_refused_by_file_and_row(case, manual_dir, tmp_path):
    files, message = BAD[case]
    write_zip(manual_dir / "faces.zip", files)
    with pytest.raises(ValueError, match=message) as error:
        build(manual_dir, tmp_path / "data")
    assert "faces.zip" in str(error.value)
    assert not tfds.builder("action_unit_folder", data_dir=tmp_path / "data").is_prepared()


def test_truncated_zips_are_named(manual_dir, tmp_path):
    write_zip(manual_dir / "faces.zip", FILES)
    data = (manual_dir / "faces.zip").read_bytes()
    (manual_dir / "faces.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"faces.zip: cannot be read .* truncated or damaged: get it again"):
        build(manual_dir, tmp_path / "data", "action_unit_folder/faces")


def test_nothing_found_says_how_to_lay_the_data_out(manual_dir, tmp_path):
    write_folder(manual_dir, {"x.jpg": ANN_1})
    with pytest.raises(
        FileNotFoundError, match=r"(?s)no \*.zip or folder with a CSV .*AU1, AU2, ... with 0, 1"
    ):
        build(manual_dir, tmp_path / "data")


def test_the_command_line_builds_by_name_and_by_source(manual_dir, tmp_path):
    write_zip(manual_dir / "faces.zip", FILES)
    write_zip(manual_dir / "more.zip", SIMPLE)
    script = f"""
import simple_parsing
from tensorflow_datasets.scripts.cli import build
parser = simple_parsing.ArgumentParser()
parser.add_arguments(build.Args, dest="args")
for config in ("faces", '{{"name": "renamed", "source": "more.zip"}}'):
    parser.parse_args([
        "tfds_builders/action_unit_folder", "--config", config,
        "--manual_dir", {str(manual_dir)!r}, "--data_dir", {str(tmp_path)!r},
    ]).args.execute()
"""
    # The repository's root is where a checkout that is not installed is imported from.
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    for name, units in (("faces", [4, 1]), ("renamed", [1])):
        assert (
            tfds.builder(f"action_unit_folder/{name}", data_dir=tmp_path).info.metadata["action_units"]
            == units
        )


@pytest.mark.skipif(not REAL_COPY.exists(), reason="needs ../shared/data/faces_au.zip")
def test_the_real_copy_beside_fer2013(tmp_path):
    builder = build(REAL_COPY.parent, tmp_path)
    assert builder.info.metadata["source"] == "faces_au.zip"
    assert builder.info.metadata["action_units"] == [1, 2, 4, 7, 10, 12, 17, 20, 24, 25, 26, 43]
    read = examples(builder)
    assert len(read) == 4000
    assert len({example["subject"] for example in read}) == 1395
    # Counted with Pillow: all but 151 images, which are smaller or larger, and in colour.
    assert sum(example["image"].shape == (350, 350, 3) for example in read) == 3849
    first = next(example for example in read if example["file"] == b"Aaron_Sorkin_0001.jpg")
    assert first["action_units"]["occurrence"].tolist() == [0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1]
    assert first["action_units"]["coded"].all()


@pytest.mark.parametrize("name", ["default_aligned", "faces_aligned"])
def test_aligned_faces_are_stored_and_those_without_a_face_counted(name, manual_dir, tmp_path, capsys):
    write_zip(manual_dir / "faces.zip", FILES)

    def aligner(image, landmarks):
        assert landmarks is None
        return None if image.shape == (16, 16, 3) else np.full((256, 256, 3), image.shape[0], np.uint8)

    builder = build(manual_dir, tmp_path / "data", f"action_unit_folder/{name}", aligner=aligner)
    stored = {example["file"].decode(): example["image"] for example in examples(builder)}
    assert {file: (image.shape, image.min(), image.max()) for file, image in stored.items()} == {
        "ann_1.jpg": ((256, 256, 3), 20, 20),
        "ann_2.png": ((256, 256, 3), 8, 8),
    }
    assert "no face found" in capsys.readouterr().out
    with pytest.raises(ValueError, match=f"{name} stores aligned faces and needs an aligner"):
        build(manual_dir, tmp_path / "other", f"action_unit_folder/{name}")
    with pytest.raises(ValueError, match="no face found"):
        build(manual_dir, tmp_path / "strict", f"action_unit_folder/{name}", aligner=aligner, strict=True)


def test_tfds_finds_nothing_wrong(manual_dir, tfds_checks):
    write_folder(manual_dir, FILES)
    tfds_checks(action_unit_folder_dataset_builder.Builder, manual_dir, {"train": 3})


def grey(image, landmarks):
    """A crop for all but the image of 16x16."""
    return None if image.shape == (16, 16, 3) else np.full((256, 256, 3), image.shape[0], np.uint8)


@pytest.mark.parametrize("name", ["faces", "faces_aligned"])
def test_on_beam_the_same_examples_and_counts(name, manual_dir, same_on_beam):
    write_zip(manual_dir / "faces.zip", FILES)
    aligner = grey if name.endswith("_aligned") else None
    printed = same_on_beam(manual_dir, f"action_unit_folder/{name}", aligner=aligner)
    assert ["images", "2" if aligner else "3", "3", "-1" if aligner else "+0"] in map(str.split, printed)
    assert ("skipped 1 (no face found): images/b/bob 1.jpg" in printed) == (aligner is not None)
