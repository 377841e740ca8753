"""What building costs: `python tests/tfds_builders/build_cost.py speed DATASET MANUAL_DIR` (Linux).

`speed` compares processor time with reading, decoding and writing the same images without TFDS, in turn in
one process. `memory SOURCE.zip` builds its first 1,000 images, then these four times over, and tells how much
memory each build took beyond what the process had; `memory` without a source takes noise, 1.3 GB and 5.0 GB,
which TFDS sorts on disk. A program; `test_build_cost.py` uses its functions.
"""

import contextlib
import csv
import io
import json
import pathlib
import sys
import tempfile
import time
import zipfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401, registers the builders.
from trainers.benchmark import process

IMAGES = (".jpg", ".jpeg", ".png")


def build(dataset: str, manual_dir: pathlib.Path, data_dir: str) -> int:
    """Builds a data set; returns its number of examples."""
    builder = tfds.builder(dataset, data_dir=data_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    with contextlib.redirect_stdout(sys.stderr):  # the builders' tables
        builder.download_and_prepare(download_config=config)
    return sum(split.num_examples for split in builder.info.splits.values())


def decode_and_write(archive: pathlib.Path, data_dir: str) -> int:
    """Reads each image of a zip, decodes it, writes it into one TFRecord file; returns their number."""
    count = 0
    with zipfile.ZipFile(archive) as files, tf.io.TFRecordWriter(f"{data_dir}/images") as writer:
        for name in files.namelist():
            if name.endswith(IMAGES):
                data = files.read(name)
                Image.open(io.BytesIO(data)).load()
                feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
                example = tf.train.Example(features=tf.train.Features(feature={"image": feature}))
                writer.write(example.SerializeToString())
                count += 1
    return count


def repeat_images(images: list[bytes], times: int, manual_dir: pathlib.Path) -> int:
    """Writes `faces.zip`: the images so many times, each under a new name and of a new person; its bytes."""
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "subject", "AU1", "AU12"])
    with zipfile.ZipFile(manual_dir / "faces.zip", "w") as archive:
        for number in range(times * len(images)):
            rows.writerow([f"{number}.jpg", f"person {number // 3}", number % 2, ""])
            archive.writestr(f"images/{number}.jpg", images[number % len(images)])
        archive.writestr("au.csv", table.getvalue())
    return times * sum(map(len, images))


def peak_growth(images: list[bytes], times: int) -> tuple[int, int]:
    """Bytes of the images, and the bytes by which building them raised the resident memory at its peak."""
    with tempfile.TemporaryDirectory() as folder:
        size = repeat_images(images, times, pathlib.Path(folder))
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = process.memory("VmRSS")
        build("action_unit_folder/faces", pathlib.Path(folder), f"{folder}/data")
        return size, process.memory("VmHWM") - before


def speed(dataset: str, manual_dir: pathlib.Path, rounds: int = 2) -> dict:
    """Processor seconds of the builds and of the same images without TFDS, and the ratio of the least."""
    [archive] = manual_dir.glob(f"{dataset.split('/')[-1]}.zip")
    seconds = {"plain": [], "build": []}
    counts = set()
    for _ in range(rounds):
        for name in seconds:
            with tempfile.TemporaryDirectory() as data_dir:
                start = time.process_time()
                if name == "plain":
                    counts.add(decode_and_write(archive, data_dir))
                else:
                    counts.add(build(dataset, manual_dir, data_dir))
                seconds[name].append(time.process_time() - start)
    [count] = counts
    ratio = min(seconds["plain"]) / min(seconds["build"])
    return {"images": count, "processor_seconds": seconds, "throughput_to_plain": ratio}


def images_of(archive: pathlib.Path, number: int = 1000) -> list[bytes]:
    """The first images of a zip."""
    with zipfile.ZipFile(archive) as files:
        names = [name for name in files.namelist() if name.endswith(IMAGES)][:number]
        return [files.read(name) for name in names]


def noise(number: int = 50, side: int = 512) -> list[bytes]:
    """PNG files that are not compressed, so that decoding them costs little."""
    files = []
    for seed in range(number):
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
        files.append(buffer.getvalue())
    return files


def memory(images: list[bytes], times: int = 1) -> dict:
    """Megabytes of data, and of memory at the peak of its build, at `times` and 4 `times` the images."""
    rows = {}
    peak_growth(images[:50], 1)  # what TensorFlow loads when first used is no matter of the data
    for factor in (1, 4):
        size, growth = peak_growth(images, factor * times)
        rows[f"{factor}x"] = {"data_mb": size / 1e6, "peak_growth_mb": growth / 1e6}
        print(json.dumps(rows), file=sys.stderr)
    return rows


if __name__ == "__main__":
    if sys.argv[1] == "speed":
        print(json.dumps(speed(sys.argv[2], pathlib.Path(sys.argv[3])), indent=1))
    elif sys.argv[2:]:
        print(json.dumps(memory(images_of(pathlib.Path(sys.argv[2]))), indent=1))
    else:
        print(json.dumps(memory(noise(), times=32), indent=1))
