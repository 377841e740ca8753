"""Small copies of RAF-DB in its owner's layout, made up here, are built by TFDS and read back."""

import io
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders import archives
from tfds_builders.rafdb import rafdb_dataset_builder as rafdb

NAMES = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]
NAME_OF_CODE = {1: "surprise", 2: "fear", 3: "disgust", 4: "happy", 5: "sad", 6: "anger", 7: "neutral"}
LIST = "basic/EmoLabel/list_patition_label.txt"
# The person's right eye, which is on the left of the image, comes first.
FIVE = np.array([[10, 12], [20, 11], [15, 18], [11, 24], [19, 23]], np.float32)


def picture(seed: int, size: tuple[int, int] = (30, 40)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def lines(points: np.ndarray, *more: str) -> bytes:
    return "\n".join([*(f"{x}\t{y}" for x, y in points), *more]).encode()


def copy() -> dict[str, bytes]:
    """Seven training and seven test images; those of code 2 without any annotation, of code 3 mirrored."""
    files, listed = {}, []
    for code in range(1, 8):
        for stem, seed in ((f"train_0000{code}", code), (f"test_000{code}", 10 + code)):
            listed.append(f"{stem}.jpg {code}")
            files[f"basic/Image/original/{stem}.jpg"] = picture(seed)
            files[f"basic/Image/aligned/{stem}_aligned.jpg"] = picture(100 + seed, (100, 100))
            if code != 2:
                five = FIVE[[1, 0, 2, 4, 3]] if code == 3 else FIVE
                files[f"basic/Annotation/manual/{stem}_manu_attri.txt"] = lines(five, "0", "2", "3")
                files[f"basic/Annotation/auto/{stem}_auto_attri.txt"] = lines(np.arange(74).reshape(37, 2))
                files[f"basic/Annotation/boundingbox/{stem}_boundingbox.txt"] = b"1.5 2.5 25 35 \n"
    files[LIST] = "\n".join(listed).encode() + b"\n"
    return files


COPY = copy()


def write(path: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def build(
    manual_dir: pathlib.Path, data_dir: pathlib.Path, config: str | None = None, beam_runner=None, **kwargs
):
    builder = tfds.builder("rafdb", config=config, data_dir=data_dir, **kwargs)
    download_config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_runner=beam_runner)
    builder.download_and_prepare(download_config=download_config)
    return builder


def examples(builder: tfds.core.DatasetBuilder, split: str) -> dict[str, dict]:
    decoders = {"image": tfds.decode.SkipDecoding()}
    return {
        example["file"].decode(): example
        for example in tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders))
    }


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    (tmp_path / "manual").mkdir()
    return tmp_path / "manual"


def test_labels_images_and_annotations_belong_together(manual_dir, tmp_path, capsys):
    write(manual_dir, COPY)
    builder = build(manual_dir, tmp_path / "data")
    assert builder.builder_config.name == "original"
    assert builder.info.features["emotion"].names == NAMES
    for split, pattern, seed in (("train", "train_0000{}.jpg", 0), ("test", "test_000{}.jpg", 10)):
        read = examples(builder, split)
        assert sorted(read) == [pattern.format(code) for code in range(1, 8)]
        for code in range(1, 8):
            example = read[pattern.format(code)]
            assert example["image"] == picture(seed + code)
            assert example["expression"] == code
            assert NAMES[example["emotion"]] == NAME_OF_CODE[code]
            if code == 2:
                for what in ("landmarks", "landmarks_37", "face_box"):
                    assert np.isnan(example[what]).all()
            else:
                np.testing.assert_array_equal(example["landmarks"], FIVE)
                np.testing.assert_array_equal(example["landmarks_37"], np.arange(74).reshape(37, 2))
                np.testing.assert_array_equal(example["face_box"], [1.5, 2.5, 25, 35])
    printed = capsys.readouterr().out.splitlines()
    assert "kept 1 (without landmarks): train_00002" in printed
    assert ["disgust", "1", "717", "-716"] in [line.split() for line in printed]
    assert ["total", "7", "3,068", "-3,061"] in [line.split() for line in printed]


def other_copies() -> dict[str, dict[str, bytes]]:
    aligned, original = "basic/Image/aligned/", "basic/Image/original/"
    return {
        "as released": COPY,
        "other spelling": {name.replace("patition", "partition"): data for name, data in COPY.items()},
        "CRLF": COPY | {LIST: COPY[LIST].replace(b"\n", b"\r\n")},
        "doubled folders": {
            name.replace(aligned, aligned + "aligned/").replace(original, original + "original/"): data
            for name, data in COPY.items()
        },
        "other case": {
            name.replace("Image/", "image/").replace(".jpg", ".JPG"): d for name, d in COPY.items()
        },
        "renamed": {name.replace("_aligned", ""): data for name, data in COPY.items()},
        "deeper": {f"x/RAF-DB/{name}": data for name, data in COPY.items()},
    }


@pytest.mark.parametrize("case", [*other_copies(), "zip"])
def test_copies_that_users_have(case, manual_dir, tmp_path):
    if case == "zip":
        with zipfile.ZipFile(manual_dir / "basic.zip", "w") as archive:
            for name, data in COPY.items():
                archive.writestr(name, data)
    else:
        write(manual_dir, other_copies()[case])
    builder = build(manual_dir, tmp_path / "data", "owner_crop")
    read = examples(builder, "train")
    assert {file: example["image"] for file, example in read.items()} == {
        f"train_0000{code}.jpg": picture(100 + code, (100, 100)) for code in range(1, 8)
    }


def test_aligned_faces_come_from_the_five_landmarks(manual_dir, tmp_path):
    write(manual_dir, COPY)
    given = []

    def aligner(image, landmarks):
        given.append((image.shape, landmarks))
        return np.zeros((256, 256, 3), np.uint8)

    builder = build(manual_dir, tmp_path / "data", "original_aligned", aligner=aligner)
    assert builder.info.features["image"].shape == (256, 256, 3)
    assert [shape for shape, _ in given] == [(40, 30, 3)] * 14
    assert sum(points is None for _, points in given) == 2
    assert all(np.array_equal(points, FIVE) for _, points in given if points is not None)
    with pytest.raises(ValueError, match="original_aligned stores aligned faces and needs an aligner"):
        build(manual_dir, tmp_path / "other", "original_aligned")
    with pytest.raises(
        ValueError, match=r"expected one of the configs original, original_aligned, owner_crop"
    ):
        build(manual_dir, tmp_path / "other", "owner_crop_aligned", aligner=aligner)


def flawed_copy() -> dict[str, bytes]:
    """A damaged image, an absent one, one listed twice, and annotations that cannot be read."""
    files = dict(COPY)
    files["basic/Image/original/train_00001.jpg"] = files["basic/Image/original/train_00001.jpg"][:-300]
    files["basic/Annotation/manual/train_00004_manu_attri.txt"] = b"x y\n"
    files["basic/Annotation/boundingbox/train_00004_boundingbox.txt"] = b"1 2 3"
    del files["basic/Image/original/train_00005.jpg"]
    files[LIST] += b"train_00006.jpg 6\n"
    return files


def test_damaged_and_absent_images_are_counted_and_strict_fails(manual_dir, tmp_path, capsys):
    write(manual_dir, flawed_copy())
    builder = build(manual_dir, tmp_path / "data")
    assert len(examples(builder, "train")) == 5
    printed = capsys.readouterr().out.splitlines()
    for line in (
        "skipped 1 (image does not decode): train_00001",
        "skipped 1 (image is absent): train_00005.jpg",
        "skipped 1 (listed twice): train_00006.jpg",
        "kept 2 (without landmarks): train_00002, train_00004",
        "kept 2 (without face_box): train_00002, train_00004",
    ):
        assert line in printed
    with pytest.raises(ValueError, match=r"\(strict\).*1 skipped \(image is absent\)"):
        build(manual_dir, tmp_path / "other", strict=True)


BAD_COPIES = {
    "code 0": (COPY | {LIST: b"train_00001.jpg 0\n"}, "line 1: expected a code from 1 .* got '0'"),
    "compound set": (
        COPY | {LIST: COPY[LIST] + b"train_0001.jpg 11\n"},
        "line 15: expected a code from 1 .*'11'",
    ),
    "no code": (
        COPY | {LIST: b"train_00001.jpg\n"},
        "line 1: expected train_<number>.jpg .*'train_00001.jpg'",
    ),
    "other name": (COPY | {LIST: b"val_1.jpg 1\n"}, "line 1: expected train_<number>.jpg .*'val_1.jpg 1'"),
    "path that climbs": (COPY | {LIST: b"../../x.jpg 1\n"}, r"line 1: the path '../../x.jpg' leads out"),
    "absolute path": (COPY | {LIST: b"/etc/x.jpg 1\n"}, r"line 1: the path '/etc/x.jpg' leads out"),
    "two lists": (COPY | {f"old/{LIST}": COPY[LIST]}, "expected one list of RAF-DB in .*; got 2"),
    "no images": (
        {name: data for name, data in COPY.items() if "original" not in name},
        r"nothing was read; 7 skipped \(image is absent\)",
    ),
}


@pytest.mark.parametrize("case", BAD_COPIES)
def test_bad_copies_are_refused_by_line(case, manual_dir, tmp_path):
    files, message = BAD_COPIES[case]
    write(manual_dir, files)
    with pytest.raises(ValueError, match=message):
        build(manual_dir, tmp_path / "data")
    assert not tfds.builder("rafdb", data_dir=tmp_path / "data").is_prepared()


def test_an_absent_copy_is_described_and_links_and_bombs_are_refused(manual_dir, tmp_path, monkeypatch):
    write(manual_dir, {"notes.txt": b""})
    with pytest.raises(FileNotFoundError) as error:
        build(manual_dir, tmp_path / "data")
    for part in (str(manual_dir), "list_patition_label.txt", "whdeng.cn", "--manual_dir", "original.zip"):
        assert part in str(error.value)
    write(manual_dir, COPY)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # The images have 1,200 pixels.
        with pytest.raises(archives.ArchiveError, match=r"is refused .*decompression bomb"):
            build(manual_dir, tmp_path / "data")
    (manual_dir / "link").symlink_to("/etc")
    with pytest.raises(archives.ArchiveError, match="'link' is a link"):
        build(manual_dir, tmp_path / "data")


def test_tfds_finds_nothing_wrong(manual_dir, tfds_checks):
    write(manual_dir, COPY)
    tfds_checks(rafdb.Builder, manual_dir, {"train": 7, "test": 7})


def black(image, landmarks):
    """A crop for faces with landmarks."""
    return None if landmarks is None else np.zeros((256, 256, 3), np.uint8)


@pytest.mark.parametrize("config", ["original", "original_aligned"])
def test_on_beam_the_same_examples_and_counts(config, manual_dir, same_on_beam):
    write(manual_dir, flawed_copy())
    printed = same_on_beam(
        manual_dir, f"rafdb/{config}", aligner=black if config.endswith("_aligned") else None
    )
    assert "skipped 1 (image does not decode): train_00001" in printed
    assert "skipped 1 (listed twice): train_00006.jpg" in printed
    if config == "original":
        assert "kept 2 (without landmarks): train_00002, train_00004" in printed
    else:
        assert "skipped 2 (no face found): train_00002, train_00004" in printed


def test_on_beam_the_same_copies_are_refused(manual_dir, tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    files = flawed_copy()
    write(manual_dir, files)
    with pytest.raises(ValueError, match=r"\(strict\).*1 skipped \(image does not decode\)"):
        build(manual_dir, tmp_path / "data", beam_runner="DirectRunner", strict=True)
    files[LIST] += b"".join(b"train_9%d.jpg 1\n" % number for number in range(10))
    for number in range(10):
        files[f"basic/Image/original/train_9{number}.jpg"] = picture(number)[:-300]
    write(manual_dir, files)
    with pytest.raises(
        ValueError, match=r"11 of 16 images do not decode \(train_\w+, train_\w+, train_\w+, ..."
    ):
        build(manual_dir, tmp_path / "data", beam_runner="DirectRunner")
    write(manual_dir, {LIST: COPY[LIST] + b"train_00001.jpg 8\n"})
    with pytest.raises(ValueError, match=r"line 15: expected a code from 1 .* got '8'"):
        build(manual_dir, tmp_path / "data", beam_runner="DirectRunner")
    assert not tfds.builder("rafdb", data_dir=tmp_path / "data").is_prepared()
