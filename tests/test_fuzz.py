"""Files with bytes changed at random: each reader ends in an error of ours that names the file, or reads it.

`EMOCO_FUZZ=5000` tries so many of each; the default takes seconds.
"""

import csv
import io
import json
import os
import zipfile

import numpy as np
import pytest

from tfds_builders import archives
from tfds_builders.action_unit_folder import table
from tfds_builders.affectnet import json_files, npy_files

MUTATIONS = int(os.environ.get("EMOCO_FUZZ", "150"))
SIGNS = (b"\x00", b"\xff", b'"', b",", b"\n", b"-1", b"9" * 20, b"nan", b"../", b"{", b"\xed\xa0\x80")


def mutated(data, rng):
    """The bytes flipped, cut, filled, repeated, or with a sign put in."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        to = min(len(data), at + int(rng.integers(1, 40)))
        match rng.integers(0, 6):
            case 0 if at < len(data):
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del data[at:]
            case 2:
                del data[at:to]
            case 3:
                data[at:to] = bytes(to - at)
            case 4:
                data[at:at] = data[at:to]
            case _:
                data[at:at] = SIGNS[int(rng.integers(0, len(SIGNS)))]
    return bytes(data)


def fuzz(path, read, same, errors=(ValueError,), times=MUTATIONS):
    """Read mutated copies in place; `same(result)` where nothing else can be right. Counts what happened."""
    original = path.read_bytes()
    others = {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file() and p != path}
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(times):
        path.write_bytes(mutated(original, rng))
        message = None
        try:
            result = read()
        except errors as error:
            message = str(error)
        if message is None:
            assert same(result), (number, result)
        else:
            refused += 1
            assert path.name in message or path.parent.name in message, (number, message)
    path.write_bytes(original)
    assert same(read())
    assert {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file() and p != path} == others
    print(f"{path.name}: {times} mutated, {refused} refused, {times - refused} read")


@pytest.fixture
def archive(tmp_path):
    """`archive(files)`: a folder of these files, and a zip of them."""

    def make(files):
        for name, data in files.items():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "copy" / name).write_bytes(data)
        with zipfile.ZipFile(tmp_path / "copy.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in files.items():
                packed.writestr(name, data)
        return tmp_path / "copy", tmp_path / "copy.zip"

    return make


def test_csv(archive):
    text = io.StringIO()
    csv.writer(text).writerows(
        [
            ["file", "subject", "AU1", "AU12", "frame"],
            *([f"{i}.jpg", f"p{i}", i % 2, "", i] for i in range(9)),
        ]
    )
    folder, _ = archive({"au.csv": text.getvalue().encode(), **{f"{i}.jpg": b"" for i in range(9)}})

    def read():
        with archives.open_archive(folder) as opened:
            return table.read(opened, "au.csv")

    def plausible(result):
        units, examples = result
        return units and all(set(e["action_units"]["occurrence"]) <= {0, 1} for e in examples.values())

    fuzz(folder / "au.csv", read, plausible)


def npy(value):
    file = io.BytesIO()
    np.save(file, np.array(value))
    return file.getvalue()


@pytest.mark.parametrize("name", ["7_exp.npy", "7_val.npy", "7_lnd.npy"])
def test_npy(name, archive):
    folder, _ = archive(
        {
            "train_set/images/7.jpg": b"",
            "train_set/annotations/7_exp.npy": npy("3"),
            "train_set/annotations/7_val.npy": npy(0.25),
            "train_set/annotations/7_lnd.npy": npy(np.arange(136.0)),
        }
    )

    def read():
        with archives.open_archive(folder) as opened:
            return list(npy_files.read(opened, "train_set"))

    fuzz(folder / "train_set/annotations" / name, read, lambda result: len(result) == 1)


def test_json(archive):
    content = {
        "human-label": 3,
        "meta-data": {"valence": 0.5, "arousal": -0.5, "landmark-68": [[1.0, 2.0]] * 68},
    }
    folder, _ = archive(
        {"train_set/images/7.jpg": b"", "train_set/annotations/7.json": json.dumps(content).encode()}
    )

    def read():
        with archives.open_archive(folder) as opened:
            return list(json_files.read(opened, "train_set"))

    fuzz(folder / "train_set/annotations/7.json", read, lambda result: len(result) == 1)


def test_zip(archive):
    files = {f"{i}.txt": bytes(range(256)) * i for i in range(1, 5)}
    _, packed = archive(files)

    def read():
        with archives.open_archive(packed) as opened:
            return {name: opened.read(name) for name in opened.names}

    # A name may be another; a file may be gone from the list or, by its size there, be empty, which Python
    # does not check; no reader takes an empty file. Its bytes are never others.
    fuzz(packed, read, lambda result: set(result.values()) <= {b"", *files.values()})
