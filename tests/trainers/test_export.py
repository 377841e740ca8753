"""Exports, read by the programs of others: TensorFlow without Keras, ONNX Runtime, LiteRT."""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_emoco

ROOT = pathlib.Path(__file__).parents[2]
UNITS = (1, 12)
REAL_FACES = ROOT.parent / "shared" / "data" / "faces_au.zip"
# A trained encoder, and the interpreter of an environment with TensorFlow alone.
ENCODER, TENSORFLOW = os.environ.get("EMOCO_ENCODER"), os.environ.get("EMOCO_TENSORFLOW", sys.executable)
needs_real = pytest.mark.skipif(
    ENCODER is None or not REAL_FACES.exists(),
    reason="needs EMOCO_ENCODER, an encoder.keras trained on faces, and ../shared/data/faces_au.zip",
)
# Runs a program in a process that has neither this project nor Keras.
WITHOUT_KERAS = """
import importlib.machinery, runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        # A spec, not an error: TensorFlow looks for Keras, and goes on without it.
        if name.partition(".")[0] in ("keras", "keras_emoco", "keras_hub", "tf_keras", "trainers"):
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        raise ModuleNotFoundError(f"{spec.name} is not there")

sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Gives several command lines to the exporter, each in turn; prints how each ended.
SEVERAL = """
import json, sys
from trainers import export
export.define_flags()
for line in json.loads(sys.argv[1]):
    export.FLAGS.unparse_flags()
    for name in export.FLAGS:
        export.FLAGS[name].unparse()
    export.FLAGS(["export", *line])
    try:
        export.main(None)
        print("END done")
    except SystemExit as error:
        print("END", error)
"""


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """A directory as `trainers.pretrain` leaves it: encoder, configuration, scores; a detector beside."""
    directory = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 5, strides=2, use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    encoder = keras_emoco.encoders.build(keras.Model(images, x))
    for batch in np.random.default_rng(0).normal(1.0, 2.0, (20, 8, 32, 32, 3)).astype("float32"):
        encoder(batch, training=True)  # moves the statistics of BatchNorm
    encoder.save(directory / "encoder.keras")
    keras_emoco.AUDetector(encoder, UNITS).save(directory / "detector.keras")
    settings = {"dataset": "affectnet/csv_7", "center_crop": True, "epochs": 3}
    (directory / "config.json").write_text(json.dumps({"settings": settings}))
    (directory / "f1.txt").write_text("AU1 50.0\n")
    return directory


def expected(path, pictures):
    """Outputs of a saved model on the fixed view of pictures, through Keras."""
    views = np.stack(
        [keras_emoco.augment.center_view(picture, 32, crop=True).numpy() for picture in pictures]
    )
    model = keras.saving.load_model(path, compile=False)
    outputs = model.predict(views, verbose=0)
    return views, outputs["probabilities"] if isinstance(outputs, dict) else outputs


def picture(width, height, file_format):
    pixels = np.random.default_rng(width).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(file, file_format)
    return file.getvalue()


def run(*command, python=sys.executable, **environment):
    finished = subprocess.run(
        [python, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return finished.returncode, finished.stdout, finished.stderr


PLAIN_TENSORFLOW = """
import json, sys
import numpy as np, tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
arrays = np.load(sys.argv[2])
encoded = tf.constant([bytes(arrays[f"picture{i}"]) for i in range(3)])
found = {f"serving_{k}": v for k, v in model.signatures["serving_default"](encoded=encoded).items()}
found |= model.signatures["features"](images=tf.constant(arrays["views"]))
found |= model.view(encoded)
found |= model.probabilities(tf.constant(arrays["views"]))
np.savez(sys.argv[3], **{name: value.numpy().astype(str if value.dtype == tf.string else float)
                        for name, value in found.items()})
# Trained further: a head of one's own on the features, and every weight of the encoder.
head = tf.Variable(tf.random.stateless_normal((8, 1), (0, 1)))
target = tf.constant([[0.0], [1.0], [2.0]])
weights = [head, *model.trainable_variables[:3]]
before, losses = [v.numpy() for v in weights], []
for _ in range(20):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model.features(arrays["views"])["features"] @ head - target) ** 2)
    losses.append(float(loss))
    for variable, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        variable.assign_sub(0.01 * gradient)
moved = [float(np.abs(v.numpy() - b).max()) for v, b in zip(weights, before)]
print(json.dumps({"losses": losses, "moved": moved, "trainable": len(model.trainable_variables),
                  "keras": [m for m in sys.modules if m.split(".")[0] in ("keras", "keras_emoco")]}))
"""


def test_detector_serves_and_trains_in_plain_tensorflow(run_directory, tmp_path):
    output = tmp_path / "out" / "detector"
    flags = (f"--detector={run_directory / 'detector.keras'}", f"--output={output}")
    code, text, error = run("-m", "trainers.export", *flags, KERAS_BACKEND="jax")
    assert code == 0, error
    assert "differs from Keras by at most" in text

    pictures = [picture(96, 48, "JPEG"), picture(40, 80, "PNG"), picture(24, 24, "JPEG")]
    views, probabilities = expected(run_directory / "detector.keras", pictures)
    _, features = expected(run_directory / "encoder.keras", pictures)
    bytes_of = {f"picture{i}": np.frombuffer(p, np.uint8) for i, p in enumerate(pictures)}
    np.savez(tmp_path / "in.npz", views=views, **bytes_of)
    (tmp_path / "blocked.py").write_text(WITHOUT_KERAS)
    (tmp_path / "plain.py").write_text(PLAIN_TENSORFLOW)
    plain = (tmp_path / "plain.py", output, tmp_path / "in.npz", tmp_path / "found.npz")
    code, text, error = run(tmp_path / "blocked.py", *plain)
    assert code == 0, error
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["images"], views, atol=1e-5)
    np.testing.assert_allclose(found["features"], features, atol=1e-4)
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-4)
    np.testing.assert_allclose(found["serving_probabilities"], probabilities, atol=1e-4)
    assert np.ptp(probabilities, axis=0).min() > 1e-3, "the pictures differ"
    assert found["serving_action_units"].tolist() == [["AU1", "AU12"]] * 3
    trained = json.loads(text.splitlines()[-1])
    assert trained["keras"] == []
    # Kernel, gamma and beta of the encoder; kernel and bias of the classifier.
    assert trained["trainable"] == 5
    assert trained["losses"][-1] < 0.5 * trained["losses"][0]
    assert min(trained["moved"]) > 0, "every weight of the encoder moved"

    card = json.loads((tmp_path / "out" / "detector.card.json").read_text())
    assert card["action_units"] == ["AU1", "AU12"]
    assert "central 32 x 32" in card["preprocessing"]["view"], "as config.json beside the source says"
    assert card["training"]["settings"]["epochs"] == 3
    text = (tmp_path / "out" / "detector.card.md").read_text()
    for part in ("affectnet/csv_7", "signed agreement", "AU1 50.0", "| epochs | 3 |", "Not for decisions"):
        assert part in text
    assert sorted(p.name for p in output.parent.iterdir()) == [
        "detector",
        "detector.card.json",
        "detector.card.md",
    ]


def test_other_formats_and_refusals(run_directory, manual_dir, tmp_path, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    encoder = f"--encoder={run_directory / 'encoder.keras'}"
    detector = f"--detector={run_directory / 'detector.keras'}"
    data = [f"--manual_dir={manual_dir}", "--dataset=action_unit_folder/units"]
    data.append(f"--data_dir={tmp_path_factory.getbasetemp() / 'tensorflow_datasets'}")

    def out(name):
        return f"--output={tmp_path / name}"

    (tmp_path / "broken.keras").write_bytes(b"PK")
    cases = [
        ([detector, "--format=onnx", out("e.onnx")], "done"),
        ([encoder, "--format=litert", out("e.tflite")], "done"),
        ([encoder, "--format=litert", "--int8", out("e8.tflite"), *data], "done"),
        ([encoder, "--format=keras", out("e.keras")], "done"),
        ([encoder, "--format=onnx", out("e.onnx")], "is there already: remove it, or give another"),
        ([encoder, "--format=onnx", out("e.pb")], "must end in .onnx for --format=onnx"),
        ([encoder, "--format=torch", out("e.safetensors")], "has no counterpart in torchvision's ResNet"),
        ([encoder, "--int8", out("e")], "--int8 is for --format=litert; got --format=tf_saved_model"),
        ([out("e")], "give --encoder or --detector, one of them"),
        ([encoder.replace("encoder=", "detector="), out("e")], "holds a Functional: give --encoder"),
        ([f"--detector={tmp_path / 'broken.keras'}", out("e")], "broken.keras does not load"),
        ([f"--encoder={tmp_path / 'none.keras'}", out("e")], "none.keras is not there"),
    ]
    code, text, error = run(
        "-c", SEVERAL, json.dumps([line for line, _ in cases]), KERAS_BACKEND="tensorflow"
    )
    assert code == 0, error
    ends = [line.removeprefix("END ") for line in text.splitlines() if line.startswith("END")]
    for (line, end), found in zip(cases, ends, strict=True):
        assert end in found, line
    assert not [p.name for p in tmp_path.iterdir() if "partial" in p.name]
    assert "average F1 of a linear classifier on the features on 36 faces of action_unit_folder" in text

    pictures = [picture(96, 48, "JPEG"), picture(40, 80, "PNG"), picture(24, 24, "JPEG")]
    views, features = expected(run_directory / "encoder.keras", pictures)
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "e.onnx", providers=["CPUExecutionProvider"])
    _, probabilities = expected(run_directory / "detector.keras", pictures)
    np.testing.assert_allclose(session.run(None, {"images": views})[0], probabilities, atol=1e-4)
    for name, tolerance in (("e.tflite", 1e-4), ("e8.tflite", 0.1 * features.max())):
        lite = interpreter.Interpreter(model_path=str(tmp_path / name))
        found = [lite.get_signature_runner()(images=view[None])["features"][0] for view in views]
        np.testing.assert_allclose(found, features, atol=tolerance, err_msg=name)
        types = {tensor["dtype"] for tensor in lite.get_tensor_details()}
        assert (np.int8 in types) == (name == "e8.tflite"), "int8 means int8 inside"
    again = keras.saving.load_model(tmp_path / "e.keras", compile=False)
    np.testing.assert_allclose(again.predict(views, verbose=0), features, atol=1e-5)


def test_example_in_plain_tensorflow(run_directory, manual_dir, tmp_path):
    output = tmp_path / "encoder"
    flags = (f"--encoder={run_directory / 'encoder.keras'}", f"--output={output}", "--nocenter_crop")
    code, _, error = run("-m", "trainers.export", *flags, KERAS_BACKEND="tensorflow")
    assert code == 0, error
    with zipfile.ZipFile(manual_dir / "units.zip") as archive:
        archive.extractall(tmp_path)
    table = tmp_path / "units" / "labels.csv"
    with (tmp_path / "units" / "au.csv").open(newline="") as file, table.open("w", newline="") as labels:
        rows = list(csv.reader(file))
        csv.writer(labels).writerows([rows[0], *([f"images/{row[0]}", *row[1:]] for row in rows[1:])])
    (tmp_path / "blocked.py").write_text(WITHOUT_KERAS)
    example = ROOT / "examples" / "action_units_tensorflow.py"
    code, text, error = run(tmp_path / "blocked.py", example, output, table, "--finetune")
    assert code == 0, error
    # ln 2 for each unit: in each fold four penalties of two units on two parts, then the chosen two.
    assert text.count("300 steps, loss from 5.545 to") == 3 * 2
    assert text.count("300 steps, loss from 1.386 to") == 3
    scores = [line.split(":")[0] for line in text.splitlines() if " avg " in line]
    assert scores == ["linear, mean of three folds", "linear, last fold", "finetuned, last fold"]


# Photographs and a trained encoder: minutes.

SERVE = """
import sys
import numpy as np, tensorflow as tf
pictures = np.load(sys.argv[2])
encoded = tf.constant([bytes(pictures[f"arr_{i}"]) for i in range(len(pictures.files))])
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
np.save(sys.argv[3], serve(encoded=encoded)["features"].numpy())
for name in ("keras", "keras_emoco", "keras_hub", "tensorflow_datasets"):
    try:
        __import__(name)
        print(name, "is there")
    except ModuleNotFoundError:
        print("without", name)
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The encoder in every format, the faces as files, and what the int8 export printed."""
    directory = tmp_path_factory.mktemp("real")
    with zipfile.ZipFile(REAL_FACES) as archive:
        archive.extractall(directory)
    names = ("e", "e.onnx", "e.tflite", "e8.tflite", "e.keras", "e.safetensors")
    formats = ("tf_saved_model", "onnx", "litert", "litert", "keras", "torch")
    lines = [
        [f"--encoder={ENCODER}", f"--format={kind}", f"--output={directory / name}", "--nocenter_crop"]
        for name, kind in zip(names, formats, strict=True)
    ]
    data = [f"--manual_dir={REAL_FACES.parent}", f"--data_dir={directory / 'data'}"]
    data.append("--dataset=action_unit_folder/faces_au")
    lines[3] += ["--int8", "--max_faces=4000", *data]
    code, text, error = run("-c", SEVERAL, json.dumps(lines), KERAS_BACKEND="tensorflow")
    assert code == 0, error
    assert text.count("END done") == len(names), text
    return directory, text, data


@needs_real
def test_64_photographs_in_every_format(real, tmp_path):
    directory, text, _ = real
    files = sorted((directory / "faces_au" / "images").iterdir())[::62][:64]
    pictures = [file.read_bytes() for file in files]
    model = keras.saving.load_model(ENCODER, compile=False)
    size = model.input_shape[1]
    views = np.stack([keras_emoco.augment.center_view(p, size, crop=False).numpy() for p in pictures])
    # As it was saved it may compute in bfloat16.
    full = keras_emoco.encoders.build(model.name, size)
    full.set_weights(model.get_weights())
    features = full.predict(views, verbose=0)
    assert len(features) == 64
    assert features.std(axis=0).min() > 1e-3, "the faces differ"

    np.savez(tmp_path / "in.npz", *(np.frombuffer(p, np.uint8) for p in pictures))
    (tmp_path / "serve.py").write_text(SERVE)
    (tmp_path / "blocked.py").write_text(WITHOUT_KERAS)
    serve = (tmp_path / "serve.py", directory / "e", tmp_path / "in.npz", tmp_path / "out.npy")
    code, output, error = run(tmp_path / "blocked.py", *serve, python=TENSORFLOW, PYTHONPATH="")
    assert code == 0, error
    assert "without keras\nwithout keras_emoco\nwithout keras_hub" in output
    found = {"tf_saved_model": np.load(tmp_path / "out.npy")}

    import onnxruntime
    import torch
    from ai_edge_litert.interpreter import Interpreter
    from safetensors.torch import load_file

    from trainers.benchmark import peers

    session = onnxruntime.InferenceSession(directory / "e.onnx", providers=["CPUExecutionProvider"])
    found["onnx"] = session.run(None, {"images": views})[0]
    lite = Interpreter(model_path=str(directory / "e.tflite")).get_signature_runner()
    found["litert"] = np.concatenate([lite(images=view[None])["features"] for view in views])
    found["keras"] = keras.saving.load_model(directory / "e.keras", compile=False).predict(views, verbose=0)
    network = peers.torchvision().models.get_model(model.name)
    network.fc = torch.nn.Identity()
    network.load_state_dict(load_file(directory / "e.safetensors"))
    with torch.no_grad():
        found["torch"] = network.eval()(torch.tensor(views.transpose(0, 3, 1, 2))).numpy()
    for name, of_format in found.items():
        print(f"{name}: differs by at most {np.abs(of_format - features).max():.1e} of {features.max():.2f}")
        np.testing.assert_allclose(of_format, features, atol=1e-4, err_msg=name)

    [line] = [line for line in text.splitlines() if line.startswith("average F1")]
    print(line)
    one, two = (float(part.split()[-1]) for part in line.split(",")[-2:])
    assert abs(one - two) <= 2


@needs_real
def test_linear_classifier_in_plain_tensorflow_does_as_well_as_the_linear_protocol(real, tmp_path):
    directory, _, data = real
    code, text, error = run(
        "-m",
        "trainers.evaluate",
        f"--encoder={ENCODER}",
        f"--workdir={tmp_path / 'linear'}",
        f"--cache_dir={tmp_path}",
        "--nocenter_crop",
        *data,
    )
    assert code == 0, error
    mine = json.loads((tmp_path / "linear" / "scores.json").read_text())["average"]["f1"]
    example, faces = ROOT / "examples" / "action_units_tensorflow.py", directory / "faces_au"
    arguments = (example, directory / "e", faces / "au.csv", f"--images={faces / 'images'}")
    (tmp_path / "blocked.py").write_text(WITHOUT_KERAS)
    code, text, error = run(tmp_path / "blocked.py", *arguments, python=TENSORFLOW, PYTHONPATH="")
    assert code == 0, error
    [line] = [line for line in text.splitlines() if line.startswith("linear, mean of three folds")]
    print(line)
    print(f"linear protocol: {mine:.1f}")
    assert abs(float(line.split()[-1]) - mine) <= 1
