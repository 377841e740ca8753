"""`trainers.build` wires the aligner into a builder: faces lie where their landmarks say, or are searched."""

import io
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_emoco import align
from trainers import aligner, build

ROOT = pathlib.Path(__file__).parents[2]
# Left and right eye, nose, mouth corners of a tilted face in an image of 200 x 160.
FIVE = np.array([[70.0, 60], [110, 50], [98, 80], [86, 104], [118, 96]])


def landmarks_68(five: np.ndarray) -> np.ndarray:
    """iBUG's points, of which only those that the five are taken from matter."""
    points = np.full((68, 2), five.mean(axis=0))
    angles = np.arange(6) * np.pi / 3
    for start, eye in ((36, five[0]), (42, five[1])):
        points[start : start + 6] = eye + 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points[30], points[48], points[54] = five[2:]
    return points


def face(colours=((255, 0, 0), (0, 255, 0))) -> np.ndarray:
    """A black image with a red left and a green right eye."""
    pixels = np.zeros((160, 200, 3), np.uint8)
    for (x, y), colour in zip(FIVE[:2].astype(int), colours, strict=True):
        pixels[y - 3 : y + 3, x - 3 : x + 3] = colour
    return pixels


def eyes_of(crop: np.ndarray) -> np.ndarray:
    """The centres of the red and the green spot."""
    centres = []
    for channel in (0, 1):
        y, x = np.nonzero(crop[..., channel] > 128)
        centres.append([x.mean() + 0.5, y.mean() + 0.5])
    return np.array(centres)


def npy(value) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


@pytest.fixture
def manual_dir(tmp_path) -> pathlib.Path:
    """AffectNet in its small distribution: one face a split."""
    png = io.BytesIO()
    Image.fromarray(face()).save(png, "PNG")
    for folder in ("train_set", "val_set"):
        for kind in ("images", "annotations"):
            (tmp_path / "manual" / folder / kind).mkdir(parents=True)
        root = tmp_path / "manual" / folder
        (root / "images/5.png").write_bytes(png.getvalue())
        (root / "annotations/5_exp.npy").write_bytes(npy(np.array("1")))
        (root / "annotations/5_lnd.npy").write_bytes(npy(landmarks_68(FIVE).ravel()))
    return tmp_path / "manual"


def stored(name: str, data_dir: pathlib.Path) -> np.ndarray:
    return next(iter(tfds.as_numpy(tfds.load(name, split="train", data_dir=data_dir, download=False))))[
        "image"
    ]


def test_aligned_and_unaligned_copies_lie_side_by_side(manual_dir, tmp_path):
    data_dir = tmp_path / "data"
    path = build.build("affectnet/npy_7", manual_dir, data_dir)
    assert path == data_dir / "affectnet" / "npy_7_aligned" / "1.0.0"
    assert build.build("affectnet/npy_7_aligned", manual_dir, data_dir) == path
    np.testing.assert_allclose(
        eyes_of(stored("affectnet/npy_7_aligned", data_dir)), align.TEMPLATE[:2], atol=4
    )
    path = build.build("affectnet/npy_7", manual_dir, data_dir, align_faces=False)
    assert path == data_dir / "affectnet" / "npy_7" / "1.0.0"
    np.testing.assert_array_equal(stored("affectnet/npy_7", data_dir), face())
    with pytest.raises(ValueError, match=r"\(strict\).*happy: 1 read"):
        build.build("affectnet/npy_8", manual_dir, data_dir, strict=True)


@pytest.mark.parametrize(
    "unusable",
    [None, landmarks_68(FIVE) + 500, landmarks_68(FIVE / 200), FIVE * [-1, 1]],
    ids=["none", "outside", "shares of the image", "mirrored out of it"],
)
def test_without_usable_landmarks_the_face_is_searched(unusable, monkeypatch):
    found = [align.Face((60.0, 40.0, 70.0, 80.0), 0.9, FIVE)]
    monkeypatch.setattr(aligner, "_detector", lambda: lambda image: found)
    crop = aligner.cut_out(face(), unusable)
    np.testing.assert_allclose(eyes_of(crop), align.TEMPLATE[:2], atol=4)
    found.clear()
    assert aligner.cut_out(face(), unusable) is None


def test_usable_landmarks_need_no_detector(monkeypatch):
    monkeypatch.delattr(aligner, "_detector")
    for landmarks in (FIVE, landmarks_68(FIVE)):
        np.testing.assert_allclose(eyes_of(aligner.cut_out(face(), landmarks)), align.TEMPLATE[:2], atol=4)


def test_what_a_builder_cannot_do_is_said(manual_dir, tmp_path):
    with pytest.raises(ValueError, match=r"expected a data set of .*affectnet.*; got 'afectnet'"):
        build.build("afectnet", manual_dir)
    with pytest.raises(ValueError, match="the builder of fer2013 takes no aligner: pass --noalign"):
        build.build("fer2013", manual_dir)
    with pytest.raises(FileNotFoundError, match=r"absent is no folder, or an empty one"):
        build.build("affectnet", tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no train part of AffectNet"):
        build.build("affectnet", manual_dir, tmp_path / "data")


def test_the_command_line(manual_dir, tmp_path):
    command = [sys.executable, "-m", "trainers.build", f"--data_dir={tmp_path}", f"--manual_dir={manual_dir}"]
    done = subprocess.run(
        [*command, "--dataset=affectnet/npy_7"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.endswith(f"built in {tmp_path}/affectnet/npy_7_aligned/1.0.0\n")
    assert ["happy", "1", "134,415", "-134,414"] in [line.split() for line in done.stdout.splitlines()]
    failed = subprocess.run(
        [*command, "--dataset=affectnet/json_7"], cwd=ROOT, capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert "error: no train part of AffectNet (json)" in failed.stderr


def test_on_beam_with_two_processes_the_same_crops(manual_dir, tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    build.build("affectnet/npy_7", manual_dir, tmp_path / "plain")
    options = "runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2"
    command = [sys.executable, "-m", "trainers.build", f"--data_dir={tmp_path}", f"--manual_dir={manual_dir}"]
    command += ["--dataset=affectnet/npy_7", f"--beam_pipeline_options={options}"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert ["happy", "1", "134,415", "-134,414"] in [line.split() for line in done.stdout.splitlines()]
    np.testing.assert_array_equal(
        stored("affectnet/npy_7_aligned", tmp_path), stored("affectnet/npy_7_aligned", tmp_path / "plain")
    )


def test_without_beam_its_flag_names_the_extra(manual_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options", None)
    with pytest.raises(ImportError, match=r"needs Apache Beam: pip install 'keras-emoco\[beam\]'"):
        build.build("affectnet/npy_7", manual_dir, tmp_path, beam_pipeline_options="runner=DirectRunner")


def test_killed_build_leaves_nothing_that_loads_and_the_next_is_whole(kill_when, tmp_path):
    rng = np.random.default_rng(0)
    emotions = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    (tmp_path / "manual").mkdir()
    with zipfile.ZipFile(tmp_path / "manual" / "fer2013.zip", "w") as archive:
        for split, number in (("train", 3000), ("test", 100)):
            for i in range(number):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (48, 48), np.uint8)).save(picture, "JPEG")
                archive.writestr(f"{split}/{emotions[i % 7]}/{i}.jpg", picture.getvalue())

    def start(data_dir):
        command = [sys.executable, "-m", "trainers.build", "--dataset=fer2013", "--noalign"]
        command += [f"--manual_dir={tmp_path / 'manual'}", f"--data_dir={tmp_path / data_dir}"]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def read(data_dir):
        splits = tfds.load("fer2013", data_dir=tmp_path / data_dir, download=False)
        return {
            name: [(example["file"], example["image"].tobytes()) for example in tfds.as_numpy(split)]
            for name, split in splits.items()
        }

    def half_built():
        return any(path.is_file() for path in tmp_path.glob("killed/fer2013/**/*incomplete*/**/*"))

    kill_when(start("killed"), half_built)
    with pytest.raises((AssertionError, FileNotFoundError, ValueError)):
        read("killed")
    for data_dir in ("killed", "whole"):
        process = start(data_dir)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    assert {name: len(examples) for name, examples in read("killed").items()} == {"train": 3000, "test": 100}
    assert read("killed") == read("whole")
