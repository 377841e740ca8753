"""`python -m trainers.predict` on pictures and videos of drawn faces: numbers, rows, pictures, memory."""

import csv
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_emoco
from keras_emoco import align, augment
from tfds_builders.synthetic_faces.faces import sample_face
from tfds_builders.synthetic_faces.render import render
from trainers import predict, predictor, recordings, sources
from trainers.align import in_batches
from trainers.annotate import annotated
from trainers.sources import Shot, Source

pytest.importorskip("mtcnn", reason="needs the extra keras-emoco[align]")
cv2 = pytest.importorskip("cv2", reason="needs the extra keras-emoco[align]")
ROOT = pathlib.Path(__file__).parents[2]
UNITS = (1, 4, 12)


def command(*arguments):
    return [sys.executable, "-m", "trainers.predict", *map(str, arguments)]


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        command(*arguments), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    return finished.returncode, finished.stdout, finished.stderr


def table(output):
    with open(output / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def box_of(row):
    return [float(row[side]) for side in ("left", "top", "width", "height")]


def probabilities_of(row):
    return [float(row[f"AU{unit}"]) for unit in UNITS]


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory):
    """A detector that sees the centre of 32 x 32 pixels; faces differ in its probabilities."""
    directory = tmp_path_factory.mktemp("detector")
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = keras.layers.ReLU()(keras.layers.Conv2D(16, 5, strides=2)(images))
    detector = keras_emoco.AUDetector(keras_emoco.encoders.build(keras.Model(images, x)), UNITS)
    detector.save(directory / "detector.keras")
    (directory / "config.json").write_text('{"settings": {"center_crop": true}}')
    return directory / "detector.keras"


@pytest.fixture(scope="module")
def faces():
    """Three pictures of faces that MTCNN finds."""
    return [Image.fromarray(np.ascontiguousarray(render(sample_face(i, 0)))) for i in (0, 1, 2)]


@pytest.fixture(scope="module")
def pair(faces):
    """Two faces in a picture, the larger on the right."""
    canvas = Image.new("RGB", (400, 260), "gray")
    canvas.paste(faces[0].resize((100, 100)), (0, 0))
    canvas.paste(faces[1].resize((250, 250)), (150, 10))
    return canvas


def write_video(path, pictures, rate=10):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, pictures[0].size)
    for picture in pictures:
        writer.write(np.asarray(picture)[..., ::-1].copy())
    writer.release()


def expected(detector_file, image):
    """Boxes and probabilities of the faces of a picture, step by step, by the detector as it was saved."""
    found = align.Detector()(image)
    crops = [align.crop(image, face.landmarks) for face in found]
    views = np.stack([augment.center_view(crop, 32, crop=True).numpy() for crop in crops])
    detector = keras.saving.load_model(detector_file, compile=False)
    return [face.box for face in found], detector.predict(views, verbose=0)["probabilities"]


@pytest.fixture(scope="module")
def predicted(detector_file, faces, pair, tmp_path_factory):
    """What the program makes of a folder of pictures and a video, some of them without faces or damaged."""
    root = tmp_path_factory.mktemp("mixed")
    (root / "in" / "deep").mkdir(parents=True)
    pair.save(root / "in" / "pair.png")
    faces[2].convert("L").save(root / "in" / "deep" / "grey.tif")
    Image.new("RGB", (90, 70), "gray").save(root / "in" / "empty.jpg")
    (root / "in" / "broken.jpg").write_bytes(b"not a picture")
    (root / "in" / "broken.mp4").write_bytes(b"no video")
    (root / "in" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "in" / "notes.txt").write_text("not read")
    grey = Image.new("RGB", (400, 260), "gray")
    write_video(root / "clip.avi", [pair, grey, pair, grey])
    output = root / "new" / "out"
    code, text, error = run(
        root / "in", root / "clip.avi", f"--detector={detector_file}", f"--output={output}"
    )
    assert code == 0, error
    return root, output, text, error


def test_every_picture_and_frame_has_a_row(predicted):
    root, output, text, error = predicted
    found = [
        (os.path.relpath(row["file"], root), row["frame"], row["time"], row["face"], row["status"])
        for row in table(output)
    ]
    assert found == [
        ("in/broken.jpg", "", "", "", "unreadable"),
        ("in/broken.mp4", "", "", "", "unreadable"),
        ("in/deep/grey.tif", "", "", "0", "face"),
        ("in/empty.jpg", "", "", "", "no_face"),
        ("in/gone.jpg", "", "", "", "unreadable"),
        ("in/pair.png", "", "", "0", "face"),
        ("in/pair.png", "", "", "1", "face"),
        ("clip.avi", "1", "0.0", "0", "face"),
        ("clip.avi", "1", "0.0", "1", "face"),
        ("clip.avi", "2", "0.1", "", "no_face"),
        ("clip.avi", "3", "0.2", "0", "face"),
        ("clip.avi", "3", "0.2", "1", "face"),
        ("clip.avi", "4", "0.3", "", "no_face"),
    ]
    reasons = {os.path.basename(row["file"]): row["reason"] for row in table(output)}
    assert "broken.jpg: expected a picture" in reasons["broken.jpg"]
    assert "OpenCV finds no frame" in reasons["broken.mp4"]
    assert "No such file" in reasons["gone.jpg"]
    assert "7 faces; 3 pictures or frames without a face, 3 unreadable: all are in" in text
    assert error.count("unreadable: ") == 3
    assert not list(output.parent.glob("*.partial"))


def test_probabilities_are_the_detectors_on_the_aligned_crop(predicted, detector_file):
    root, output, _, _ = predicted
    rows = table(output)
    _, frame = next(align.frames(root / "clip.avi", lambda number: number == 3))
    images = {"in/pair.png": align.read_image(root / "in" / "pair.png"), "clip.avi": frame}
    images["in/deep/grey.tif"] = align.read_image(root / "in" / "deep" / "grey.tif")
    seen = []
    for file, image in images.items():
        mine = [r for r in rows if r["file"] == str(root / file) and r["frame"] in ("", "3")]
        boxes, probabilities = expected(detector_file, image)
        np.testing.assert_allclose([box_of(row) for row in mine], boxes, atol=0.05)
        np.testing.assert_allclose([probabilities_of(row) for row in mine], probabilities, atol=1e-4)
        seen.extend(probabilities)
    assert np.ptp(seen, axis=0).min() > 0.01, "the faces differ"
    assert all(0.5 < float(row["confidence"]) <= 1 for row in rows if row["status"] == "face")


def test_annotated_pictures_and_video_show_the_bars(predicted):
    _, output, _, _ = predicted
    made = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    pictures = {"annotated/in/pair.png", "annotated/in/empty.jpg", "annotated/in/deep/grey.tif.png"}
    assert made == pictures | {"annotated/clip.avi.mp4", "predictions.csv"}
    frames = [image.astype(int) for _, image in align.frames(output / "annotated" / "clip.avi.mp4")]
    assert len(frames) == 4
    assert recordings.frame_rate(output / "annotated" / "clip.avi.mp4") == 10
    source = align.read_image(output / "annotated" / "in" / "pair.png").astype(int)
    assert frames[0].shape == source.shape
    # JPEG within AVI and MPEG-4 blur; another frame, or none, would be far off.
    assert np.abs(frames[2] - source).mean() < 12
    assert np.abs(frames[1] - source).mean() > 20


def test_bars_are_as_long_as_the_probabilities():
    place = align.Face((100.0, 20.0, 80.0, 90.0), 0.99, np.zeros((5, 2)))
    face = predictor.Face(place, None, np.array([0.0, 0.25, 1.0]))
    picture = np.asarray(annotated(np.full((480, 640, 3), 90, np.uint8), [face], ["AU1", "AU4", "AU12"]))
    row = 480 // 30
    present, absent = (255, 157, 46), (127, 167, 201)
    # The middle of each bar, right of the box: left of it are names, right of it numbers.
    start = 180 + row // 2 + 3 * row
    bars = [picture[20 + i * row + row // 2, start : start + 4 * row] for i in range(3)]
    lengths = [sum(tuple(pixel) in (present, absent) for pixel in bar) for bar in bars]
    assert lengths == [0, row, 4 * row]
    assert tuple(bars[1][0]) == absent
    assert tuple(bars[2][0]) == present
    assert (picture[:, :100] == 90).all(), "nothing is drawn left of the box"


def test_bars_hide_no_other_face_where_there_is_space():
    two = [align.Face((x, 100.0, 100.0, 100.0), 0.9, np.zeros((5, 2))) for x in (200.0, 330.0)]
    found = [predictor.Face(place, None, np.array([1.0])) for place in two]
    picture = np.asarray(annotated(np.full((480, 640, 3), 90, np.uint8), found, ["AU1"]))
    assert (picture[110:190, 340:420] == 90).all()
    assert (picture[130:190, 210:290] == 90).all()


# Pieces, in this process.


def listed(arguments, output, kind="files"):
    return sources.list_sources([str(argument) for argument in arguments], kind, output)


def test_files_and_folders_are_listed_once_and_keep_their_tree(tmp_path, touch):
    touch(tmp_path, "a/1.jpg", "a/b/2.GIF", "a/b/3.txt", "c/1.jpg", "c/v.MOV")
    found = listed([tmp_path / "a", tmp_path / "c" / "1.jpg", tmp_path / "a" / "1.jpg"], tmp_path / "out")
    assert [source.annotated for source in found] == ["a/1.jpg", "a/b/2.GIF.png", "c/1.jpg"]
    [video] = listed([tmp_path / "c" / "v.MOV"], tmp_path / "out")
    assert (video.file, video.annotated, video.moving) == (str(tmp_path / "c" / "v.MOV"), "v.MOV.mp4", True)


@pytest.mark.parametrize(
    ("arguments", "kind", "output", "message"),
    [
        (["absent.jpg"], "files", "out", r"absent\.jpg does not exist: give a picture"),
        (["x.txt"], "files", "out", r"no picture or video in .*x\.txt: known are \.jpg"),
        (["empty"], "files", "out", r"no picture or video in .*empty"),
        (["a"], "files", "a/out", r"a/out lies in .*a, which is read: write somewhere else"),
        (["a"], "files", "empty", r"--output=.*empty is there already: remove it"),
        ([], "files", "out", "give pictures, videos or folders, or --input=webcam"),
        (["a"], "webcam", "out", "give pictures, videos or folders, or --input=webcam"),
        (["same"], "files", "out", r"1\.tif.* would both be annotated in 1\.tif\.png: rename it"),
    ],
)
def test_wrong_arguments_are_explained(tmp_path, arguments, kind, output, message, touch):
    touch(tmp_path, "a/1.jpg", "x.txt", "same/1.tif", "same/1.tif.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, OSError), match=message):
        listed([tmp_path / argument for argument in arguments], tmp_path / output, kind)


def test_program_says_why_not_in_a_line(detector_file, tmp_path, touch):
    touch(tmp_path, "1.jpg")
    flags = (f"--detector={detector_file.parent / 'none.keras'}", f"--output={tmp_path / 'out'}")
    code, _, error = run(tmp_path / "1.jpg", *flags)
    assert code == 1
    line = error.splitlines()[-1]
    assert line.startswith(f"error: --detector={detector_file.parent / 'none.keras'} is not there: give")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.jpg"]


@pytest.mark.parametrize(
    ("image_size", "message"), [(64, "takes 32: leave the flag out"), (1, "must be at least 2; got 1")]
)
def test_detector_and_image_size_must_agree(detector_file, image_size, message):
    with pytest.raises(ValueError, match=message):
        predictor.load(detector_file, image_size)


def test_a_file_without_detector_is_refused(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK")
    with pytest.raises(
        ValueError, match=r"broken\.keras does not load .*give the file of a saved AUDetector"
    ):
        predictor.load(tmp_path / "broken.keras")


def test_of_a_video_every_third_frame(faces, tmp_path):
    write_video(tmp_path / "clip.avi", [faces[0]] * 8, rate=30)
    found = list(sources.shots([Source(str(tmp_path / "clip.avi"), "clip.mp4")], every=3))
    assert [(shot.frame, round(shot.time, 3)) for shot in found] == [(1, 0.0), (4, 0.1), (7, 0.2)]
    annotations = predict.Annotations(tmp_path / "out", every=3)
    for shot in found:
        annotations.add(shot, faces[0])
    annotations.close()
    assert align.announced_frames(tmp_path / "out" / "clip.mp4") == 3
    assert recordings.frame_rate(tmp_path / "out" / "clip.mp4") == 10, "it lasts as long as the original"


def test_a_video_cut_off_is_listed_after_its_frames(faces, tmp_path):
    write_video(tmp_path / "whole.avi", [faces[0]] * 20)
    whole = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    *frames, last = sources.shots([Source(str(tmp_path / "cut.avi"), "cut.mp4")], every=1)
    assert 5 < len(frames) < 15
    assert "of 20 that its header states: copy it again" in last.reason
    assert next(predict.rows(last, [], 3))[4] == "unreadable"


def test_batches_are_small_in_number_and_in_bytes():
    source = Source("a.mp4", "a.mp4")
    small, large = np.zeros((10, 10, 3), np.uint8), np.zeros((3000, 4000, 3), np.uint8)
    found = [Shot(source, i, 0.0, small) for i in range(5)] + [Shot(source, i, 0.0, large) for i in range(4)]
    assert [len(batch) for batch in in_batches(iter(found), 3)] == [3, 3, 2, 1]


class Camera:
    """Two pictures, then nothing, as OpenCV gives them."""

    def __init__(self, pictures):
        self.pictures = list(pictures)

    def isOpened(self):
        return bool(self.pictures)

    def set(self, name, value):
        pass

    def read(self):
        return (True, self.pictures.pop(0)) if self.pictures else (False, None)

    def release(self):
        pass


def test_webcam_is_written_at_the_time_it_was_seen(detector_file, pair, tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 0.35])
    monkeypatch.setattr(recordings.time, "monotonic", lambda: next(clock))
    pictures = [np.asarray(pair)[..., ::-1], np.zeros((260, 400, 3), np.uint8)]
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(pictures))
    (shot, dark) = sources.shots(listed([], tmp_path / "out", "webcam"), every=1)
    monkeypatch.undo()
    assert (dark.frame, dark.time) == (2, 0.35)
    assert (shot.image == np.asarray(pair)).all(), "RGB, not BGR"
    annotations = predict.Annotations(tmp_path, every=1)
    annotations.add(shot, pair)
    annotations.add(dark, pair)
    annotations.close()
    # At 10 frames a second 0.35 s is the fifth, or by rounding the fourth: the first is repeated until then.
    assert align.announced_frames(tmp_path / "webcam.mp4") in (4, 5)


def test_without_a_camera_the_webcam_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera([]))
    with pytest.raises(OSError, match="OpenCV finds no camera here: connect one, or give a video"):
        list(sources.shots(listed([], tmp_path / "out", "webcam"), every=1))


def peak_memory(*arguments):
    """Bytes that a run of the program held at most."""
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, error
    return usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads ru_maxrss in kilobytes, as Linux has it")
def test_memory_does_not_grow_with_the_video(detector_file, faces, tmp_path):
    canvas = Image.new("RGB", (480, 320), "gray")
    canvas.paste(faces[0].resize((200, 200)), (60, 50))
    peaks = []
    for seconds in (10, 60):
        write_video(tmp_path / f"{seconds}.avi", [canvas] * (10 * seconds))
        flags = (f"--detector={detector_file}", f"--output={tmp_path / str(seconds)}")
        peaks.append(peak_memory(tmp_path / f"{seconds}.avi", *flags))
        assert len(table(tmp_path / str(seconds))) == 10 * seconds
    print(f"peak memory: {peaks[0] / 1e6:.0f} MB for 10 s, {peaks[1] / 1e6:.0f} MB for 60 s")
    # The 500 frames more are 230 MB.
    assert peaks[1] - peaks[0] < 60e6
