"""A build's memory does not grow with the images: only with the rows of their table."""

import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
# TFDS itself keeps up to a gigabyte in memory before it sorts on disk, which would hide what builders keep.
CHILD = """
import pathlib, sys
sys.path[:0] = [{root!r}, {here!r}]
from tensorflow_datasets.core import shuffle
import build_cost
if {limit}:
    shuffle.MAX_MEM_BUFFER_SIZE, shuffle.BUCKETS_NUMBER = {limit}, 50
images = [path.read_bytes() for path in sorted(pathlib.Path({images!r}).iterdir())]
build_cost.peak_growth(images, 10)
print("growth", *build_cost.peak_growth(images, 40), *build_cost.peak_growth(images, 160))
"""


def growths(folder, limit):
    here = str(pathlib.Path(__file__).parent)
    code = CHILD.format(root=str(ROOT), here=here, limit=limit, images=str(folder))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=800)
    assert process.returncode == 0, process.stderr
    [line] = [line for line in process.stdout.splitlines() if line.startswith("growth")]
    return map(int, line.split()[1:])


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/clear_refs").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(("limit", "flat"), [(2**20, True), (0, False)])
def test_memory_of_a_build_does_not_grow_with_the_images(limit, flat, tmp_path):
    for number in range(10):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (160, 160, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        (tmp_path / f"{number}.jpg").write_bytes(buffer.getvalue())
    size, growth, larger_size, larger_growth = growths(tmp_path, limit)
    assert larger_size == 4 * size > 40e6
    # The other case shows that this number would tell: there TFDS does keep the images.
    grown = (larger_growth - growth) / (larger_size - size)
    assert grown < 0.25 if flat else grown > 0.5
