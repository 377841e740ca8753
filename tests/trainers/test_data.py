"""The files of a built data set: there is room for them, none is missing, none is damaged."""

import struct

import pytest
import tensorflow as tf

from keras_emoco import augment
from trainers import data, faults


@pytest.fixture(scope="module")
def built(manual_dir, tmp_path_factory):
    return data.prepare("fer2013", str(tmp_path_factory.mktemp("built")), str(manual_dir))


def files(builder):
    return {path.name: path.read_bytes() for path in builder.data_path.iterdir()}


def test_full_disk_ends_the_build_and_nothing_of_it_loads(built, manual_dir, small_disk, fill):
    data_dir = small_disk / "data"
    size = sum(len(content) for content in files(built).values()) // 1024
    for left in (0, 4, size // 2, size - 16, size - 4):
        fill(small_disk, left)
        with pytest.raises(
            OSError, match=rf"cannot build fer2013 in {data_dir}/.*\(No space left.*Make room"
        ):
            data.prepare("fer2013", str(data_dir), str(manual_dir))
        assert not list(data_dir.rglob("*tfrecord*")), left
    fill(small_disk, None)
    again = data.prepare("fer2013", str(data_dir), str(manual_dir))
    records = [{name: x for name, x in files(b).items() if "tfrecord" in name} for b in (built, again)]
    assert len(records[0]) == 2
    assert records[0] == records[1]


def test_file_of_a_built_data_set_that_is_missing_is_named(manual_dir, tmp_path):
    builder = data.prepare("fer2013", str(tmp_path), str(manual_dir))
    file = next(builder.data_path.glob("fer2013-train*"))
    whole = file.read_bytes()
    file.unlink()
    message = rf"{file} is missing \(1 files of fer2013.*put it back, or remove {builder.data_path} "
    with pytest.raises(FileNotFoundError, match=message):
        data.prepare("fer2013", str(tmp_path), str(manual_dir))
    for path in builder.data_path.iterdir():
        path.unlink()
    builder.data_path.rmdir()
    data.prepare("fer2013", str(tmp_path), str(manual_dir))
    assert file.read_bytes() == whole


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def first_records(content, number=50):
    """TFRecord: length in 8 bytes, its checksum in 4, the record, its checksum in 4."""
    end = 0
    for _ in range(number):
        end += struct.unpack_from("<Q", content, end)[0] + 16
    return content[:end]


def test_file_of_a_built_data_set_that_is_damaged_is_named(built):
    file = next(built.data_path.glob("fer2013-train*"))
    whole = file.read_bytes()
    batches = augment.two_views(data.examples(built, "train"), 32, 28).take(8)
    assert data.damage(built) is None
    for damaged in (flip(whole), first_records(whole), whole[: len(whole) // 2], b""):
        file.write_bytes(damaged)
        with pytest.raises(tf.errors.OpError) as caught:
            list(batches)
        message = faults.explain(caught.value, builders=[built])
        assert message.startswith(f"{file} is damaged (")
        assert message.endswith(f"remove {built.data_path} to have the data set built again")
    file.write_bytes(whole)
