"""The demo's page: what it answers, over HTTP, and in a browser where there is one."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_emoco
from keras_emoco import align, augment
from tfds_builders.synthetic_faces.faces import sample_face
from tfds_builders.synthetic_faces.render import render
from trainers import data, demo, gallery, predictor, probe

pytest.importorskip("mtcnn", reason="needs the extra keras-emoco[align]")
ROOT = pathlib.Path(__file__).parents[2]
UNITS = (1, 4, 12)


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory):
    """A detector of 32 x 32 pixels; faces differ in its probabilities."""
    file = tmp_path_factory.mktemp("detector") / "detector.keras"
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = keras.layers.ReLU()(keras.layers.Conv2D(16, 5, strides=2)(images))
    keras_emoco.AUDetector(keras_emoco.encoders.build(keras.Model(images, x)), UNITS).save(file)
    return file


@pytest.fixture(scope="module")
def predict(detector_file):
    return predictor.load(detector_file)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A picture of one face that MTCNN finds."""
    file = tmp_path_factory.mktemp("picture") / "face.png"
    Image.fromarray(np.ascontiguousarray(render(sample_face(0, 0)))).save(file)
    return file


def expected(detector_file, picture):
    """The aligned face, what a network sees of it, and the detector's probabilities, step by step."""
    image = align.read_image(picture)
    crop = align.crop(image, align.Detector()(image)[0].landmarks)
    view = augment.center_view(crop, 32, crop=False).numpy()[None]
    detector = keras.saving.load_model(detector_file, compile=False)
    return crop, view, detector.predict(view, verbose=0)["probabilities"][0]


def faces_of(pictures, emotions):
    """Faces with AU1 in every second of them."""
    count = len(pictures)
    png = [tf.io.encode_png(picture).numpy() for picture in pictures]
    occurrence = (np.arange(count)[:, None] + [1, 0]) % 2
    return probe.Faces(
        tf.data.Dataset.from_tensor_slices({"image": png}),
        [1, 12],
        occurrence,
        np.ones((count, 2), bool),
        np.arange(count),
        np.array(emotions),
        [],
    )


def test_answer_is_the_detectors_and_the_faces_of_the_emotion(predict, detector_file, picture):
    crop, view, probabilities = expected(detector_file, picture)
    encoder = predict.detector.encoder
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    faces = faces_of(pictures, ["sad", "happy", "sad", "", "sad", "happy"])
    own = encoder.predict(view, verbose=0)[0]
    away = rng.normal(size=own.shape)
    # Of the sad faces 4 is nearest, then 0; 1 and 3 are nearer still, and not sad.
    x = np.stack([own + t * away for t in (0.1, 0, 0.3, 0, 0.01, 2)]).astype(np.float32)
    x[4] *= 50
    shown = gallery.Gallery(faces, x, encoder, 32, False)
    assert shown.emotions == ["happy", "sad"]
    found = demo.examine(predict, shown, str(picture), "sad")
    np.testing.assert_array_equal(found[0], crop)
    assert list(found[1]) == ["AU1", "AU4", "AU12"]
    np.testing.assert_allclose(list(found[1].values()), probabilities, atol=1e-5)
    assert np.ptp(probabilities) > 0.01
    assert found[2] == "sad"
    for (image, _), row in zip(found[3], (4, 0, 2), strict=True):
        np.testing.assert_array_equal(image, pictures[row])
    assert [caption for _, caption in found[3]] == ["AU 1", "AU 1", "AU 1"]
    assert found[4] == "One face was found."
    [(image, _), *_] = demo.examine(predict, shown, str(picture), "happy")[3]
    np.testing.assert_array_equal(image, pictures[1])
    grey = dataclasses.replace(faces_of(pictures[..., :1], faces.emotions), action_units=[])
    [(image, caption), *_] = gallery.Gallery(grey, x, encoder, 32, False).nearest(crop, "happy")
    assert (image.shape, caption) == ((16, 16, 3), "")


def test_emotion_is_the_commonest_of_the_nearest_faces(predict, detector_file, picture):
    crop, view, _ = expected(detector_file, picture)
    encoder = predict.detector.encoder
    own = encoder.predict(view, verbose=0)[0]
    away = np.random.default_rng(0).normal(size=own.shape)
    # Nearest are 11 unlabelled ones, then 9 happy, 11 sad; farther, more and with longer features angry ones.
    names = [""] * 11 + ["happy"] * 9 + ["sad"] * 11 + ["angry"] * 30
    x = np.stack([own + t * away for t in np.linspace(0, 3, len(names))]).astype(np.float32)
    x[31:] *= 100
    order = np.random.default_rng(1).permutation(len(names))
    faces = faces_of(np.zeros((len(names), 8, 8, 3), np.uint8), np.array(names)[order])
    shown = gallery.Gallery(faces, x[order], encoder, 32, False)
    assert shown.emotion_of(crop) == "sad"
    _, _, emotion, nearest, text = demo.examine(predict, shown, str(picture), None)
    assert (emotion, len(nearest)) == ("sad", 6)
    assert text.endswith("The commonest emotion of the 20 training faces nearest to it is sad.")


def test_pictures_without_a_face_or_unreadable_are_answered(predict, tmp_path, picture):
    Image.new("RGB", (90, 70), "gray").save(tmp_path / "empty.png")
    crop, probabilities, emotion, nearest, text = demo.examine(
        predict, None, str(tmp_path / "empty.png"), None
    )
    assert (crop, probabilities, emotion, nearest) == (None, None, None, [])
    assert text.startswith("No face was found: try")
    assert demo.examine(predict, None, None, None)[4] == "Give a picture with a face."
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"broken\.png: expected a picture"):
        demo.examine(predict, None, str(tmp_path / "broken.png"), None)
    two = Image.new("RGB", (520, 260), "gray")
    for left, side in ((0, 120), (260, 250)):
        two.paste(Image.open(picture).resize((side, side)), (left, 0))
    two.save(tmp_path / "two.png")
    assert demo.examine(predict, None, str(tmp_path / "two.png"), None)[4].startswith("2 faces were found")


def test_data_of_the_run_beside_is_known_where_it_is_built(manual_dir, tmp_path, tmp_path_factory):
    data_dir = str(tmp_path_factory.getbasetemp() / "tensorflow_datasets")
    data.prepare("fer2013", data_dir, manual_dir)

    def known(dataset, directory=data_dir):
        (tmp_path / "config.json").write_text(json.dumps({"settings": {"dataset": dataset}}))
        return gallery.built_for(tmp_path / "encoder.keras", directory)

    assert gallery.built_for(tmp_path / "encoder.keras", data_dir) is None, "no run is beside"
    assert known("fer2013") == "fer2013"
    assert known("fer2013", str(tmp_path)) is None, "it is not built there"
    assert known("no_such_data") is None
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "au.csv").write_text("file,subject,AU1\n1.png,ann,1\n")
    Image.new("RGB", (32, 32)).save(tmp_path / "plain" / "1.png")
    builder = data.prepare("action_unit_folder/plain", str(tmp_path / "data"), str(tmp_path))
    with pytest.raises(ValueError, match=r"action_unit_folder/plain.* has no emotions to choose from"):
        gallery.load(builder, None, 32, False, 10)


@pytest.fixture(scope="module")
def server(detector_file, manual_dir, tmp_path_factory):
    """Address of the program in a process of its own, with the made-up FER2013."""
    pytest.importorskip("gradio", reason="needs the extra keras-emoco[demo]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "trainers.demo", f"--detector={detector_file}", f"--port={port}"]
    command += ["--dataset=fer2013", f"--manual_dir={manual_dir}"]
    command.append(f"--data_dir={tmp_path_factory.getbasetemp() / 'tensorflow_datasets'}")
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=file, stderr=file
        )
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 600
        while not _answers(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.kill()
        process.wait()


def _answers(address):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(address, timeout=10).status == 200
    return False


def test_server_answers_on_this_machine_alone(server, detector_file, picture):
    import gradio_client

    client, file = gradio_client.Client(server, verbose=False), picture
    picture = gradio_client.handle_file(file)
    crop, label, emotion, nearest, text = client.predict(picture, "happy", api_name="/show")
    aligned, _, probabilities = expected(detector_file, file)
    np.testing.assert_array_equal(np.asarray(Image.open(crop).convert("RGB")), aligned)
    found = {entry["label"]: entry["confidence"] for entry in label["confidences"]}
    assert found == pytest.approx(dict(zip(("AU1", "AU4", "AU12"), probabilities, strict=True)), abs=1e-4)
    assert (emotion, len(nearest), text) == ("happy", 6, "One face was found.")
    if pathlib.Path("/proc/net/tcp").exists():
        port = f"{urllib.parse.urlsplit(server).port:04X}"
        lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = [line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{port}")]
        assert listening == [f"0100007F:{port}"]


def test_page_in_a_browser(server, detector_file, picture, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    browser_file = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_file is None:
        pytest.skip("needs chromium: apt-get install chromium")
    _, _, probabilities = expected(detector_file, picture)
    errors, asked = [], set()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(240_000)
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.add(urllib.parse.urlsplit(request.url).hostname))
        page.goto(server)
        page.locator("input[type=file]").first.set_input_files(picture)
        text = page.get_by_text(
            "One face was found. The commonest emotion of the 20 training faces nearest to it is "
        )
        text.wait_for()
        voted = text.inner_text().removesuffix(".").split()[-1]
        assert page.get_by_label("emotion of the training faces shown").input_value() == voted
        shown = sorted(text.split() for text in page.locator(".confidence-set").all_inner_texts())
        # The picture, its aligned face and six others, each loaded.
        page.wait_for_function("[...document.images].filter(image => image.naturalWidth).length >= 8")
        assert page.get_by_label("Download").count() > 0
        assert page.get_by_label("Share").count() == 0, "its button would upload the face"
        page.get_by_label("emotion of the training faces shown").click()
        page.get_by_role("option", name="sad" if voted != "sad" else "fear").click()
        page.get_by_text("One face was found.", exact=True).wait_for()
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        browser.close()
    names = [f"AU{unit}" for unit in UNITS]
    percents = [f"{round(100 * float(probability))}%" for probability in probabilities]
    assert shown == sorted(map(list, zip(names, percents, strict=True)))
    print(f"screenshot: {tmp_path / 'page.png'}")
    assert errors == []
    assert asked - {None} == {"127.0.0.1"}, "the page asks nobody else"
