"""Readers of `trainers` and `keras_emoco`, each with a small file: models, weights, results, journals."""

import functools
import pathlib
import shutil

import keras
import mutate
import numpy as np
import torch  # here, because its build for GPUs starts ldconfig, which no reader may
from program import Reader, with_constant

import keras_emoco
from keras_emoco import align, weights
from trainers import (
    align_journal,
    checkpoints,
    features,
    predictor,
    published,
    recordings,
    report,
    results,
    sources,
    workdir,
)

layers = keras.layers
STEPS = 4
SETTINGS = {"seed": 0, "epochs": 2, "dataset": "fer2013", "center_crop": True}


def encoder():
    """A network of the layers' names that a ResNet of torchvision has, some kilobytes large."""
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv1_conv")(images)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.Conv2D(4, 3, use_bias=False, name="stack0_block0_1_conv")(x)
    x = layers.BatchNormalization(name="stack0_block0_1_bn")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="features")(x), name="resnet18")


def predictions():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (12, 2))
    folds = [(np.arange(6), np.arange(6, 12)), (np.arange(6, 12), np.arange(6))]
    return results.Predictions(
        [1, 12], labels, np.ones((12, 2), bool), np.repeat(["a", "b", "c", "d"], 3), folds,
        [rng.random((6, 2)) for _ in folds], np.full((2, 2), 0.5),
    )  # fmt: skip


def make(root):
    keras.utils.set_random_seed(0)
    network = encoder()
    keras_emoco.AUDetector(network, (1, 12)).save(root / "detector.keras")
    network.trainable = True
    network.save(root / "encoder.keras")
    weights.save(network, root / "encoder.safetensors")
    state = {name: torch.tensor(value) for name, value in weights.tensors_of(network).items()}
    torch.save(state, root / "encoder.pth")
    torch.save(state, root / "legacy.pth", _use_new_zipfile_serialization=False)
    moco = {f"module.encoder_q.{name}": value for name, value in state.items()}
    torch.save({"epoch": 1, "arch": "resnet18", "state_dict": moco}, root / "moco.pth.tar")
    workdir.open_workdir(root / "run", SETTINGS)
    results.save(root / "predictions.npz", predictions())
    workdir.write_arrays(root / "features.npz", features=np.ones((12, 4), np.float32), key=np.array("x"))
    make_evaluation(root / "evaluation")
    make_checkpoints(root / "checkpoints")
    make_journal(root / "aligned")
    shutil.copy(pathlib.Path(published.__file__).with_name("published.tsv"), root)
    make_videos(root)


def make_evaluation(directory):
    workdir.open_workdir(directory, SETTINGS)
    summary = results.summarize(predictions())
    results.write(directory, {**summary, "dataset": "disfa/left", "protocol": "linear"})


def model_for_checkpoints():
    keras.utils.set_random_seed(0)
    model = keras_emoco.EmoCo(
        encoder(), num_classes=2, projection_dim=4, hidden_dim=4, queue_size=4, momentum=0.9, seed=0
    )
    model.compile(keras_emoco.optimizers.sgd(0.1))
    return model


def make_checkpoints(directory):
    model, rng = model_for_checkpoints(), np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 8, 8, 3)).astype("float32"), rng.integers(0, 2, 8)
    saver = checkpoints.Checkpoints(directory, STEPS)
    model.fit((x[0], x[1]), y, batch_size=2, epochs=2, verbose=0, shuffle=False, callbacks=[saver])
    shutil.copytree(directory, directory.with_name("whole"))


def make_journal(directory):
    face = {"confidence": 0.9, "box": [0.0, 0.0, 9.0, 9.0], "landmarks": [[1.0, 1.0]] * 5}
    journal = align_journal.Journal(directory, {"size": 16}, {})
    for number in range(3):
        (directory / f"{number}.jpg").write_bytes(b"x")
        entry = {"file": f"{number}.jpg", "frame": None, "stamp": [1, 2], "status": "aligned", "reason": ""}
        journal.add([entry | {"faces": [face | {"output": f"{number}.jpg"}]}])


def make_videos(root):
    import cv2

    for name, code in (("clip.avi", "MJPG"), ("clip.mp4", "mp4v")):
        writer = cv2.VideoWriter(str(root / name), cv2.VideoWriter_fourcc(*code), 10, (48, 48))
        for number in range(6):
            writer.write(np.full((48, 48, 3), 20 * number, np.uint8))
        writer.release()
    from PIL import Image

    for kind in ("jpg", "png", "gif", "tiff", "webp", "ppm"):
        Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3)).save(root / f"a.{kind}")


def loaded(path):
    network = encoder()
    weights.load(network, path)
    return network.get_weights()


def finite(arrays):
    return all(np.isfinite(array).all() for array in arrays)


def works(network):
    return network(np.zeros((1, 8, 8, 3), "float32")) is not None


def open_again(directory):
    workdir._locks.clear()
    return workdir.open_workdir(directory, {**SETTINGS, "epochs": 3}, may_grow=("epochs",))


def restored(directory, whole):
    """What is in the model after a resume; a damaged newest checkpoint is put back for the next."""
    saver = checkpoints.Checkpoints(directory, STEPS)
    # `restore` on a model of its own for each file would be most of the time: this is what it reads.
    path = saver.newest_whole()
    for aside in directory.glob("damaged_*"):
        shutil.copytree(whole, directory / whole.name, dirs_exist_ok=True)
        shutil.rmtree(aside)
    return path and path.name


def journal(directory, faces):
    """Opens it as a run that goes on, and puts back what it took for left over."""
    try:
        return align_journal.Journal(directory, {"size": 16}, {f"{n}.jpg": [1, 2] for n in range(3)}).entries
    finally:
        for name in faces:
            (directory / name).write_bytes(b"x")


def frames_written(path, output):
    """The frames of a video as trainers.predict takes and writes them."""
    shots = list(sources.shots([sources.Source(str(path), path.name)], 1))
    rate = recordings.frame_rate(path)
    writer = recordings.Writer(output, rate)
    try:
        for shot in shots:
            if shot.image is not None and shot.image.shape == (48, 48, 3):
                from PIL import Image

                writer.write(Image.fromarray(shot.image), shot.time)
    finally:
        writer.close()
    return shots


def right_shots(shots):
    return all((shot.image is None) == bool(shot.reason) for shot in shots) and len(shots) < 100


def header(text):
    """A function that puts another header before the tensors of a `.safetensors`."""

    def change(data):
        end = 8 + int.from_bytes(data[:8], "little")
        return len(text).to_bytes(8, "little") + text + data[end:]

    return change


HEADERS = tuple(map(header, (b"[]", b'{"a": 1}', b'{"a": {}}')))


def readers(root):
    """All of them."""

    def reader(name, file, read, right, change=mutate.bytes_of, **more):
        return Reader(name, root / file, read, right, change, **more)

    text = mutate.any_of(mutate.bytes_of, mutate.json_of)
    inner = {"json": mutate.any_of(mutate.json_of, mutate.layers_of), "h5": mutate.hdf5_of}
    archive = mutate.any_of(mutate.bytes_of, *[mutate.zip_of(inner)] * 3)
    arrays = mutate.any_of(
        mutate.bytes_of, mutate.zip_of({"npy": mutate.objects_of, "pkl": mutate.pickle_of})
    )
    legacy = mutate.any_of(*[mutate.bytes_of] * 9, mutate.pickle_of)
    yield reader(
        "encoder.keras, --encoder",
        "encoder.keras",
        lambda: features.load_encoder(root / "encoder.keras")[0],
        works,
        archive,
        share=0.3,
    )
    yield reader(
        "encoder.keras, --init_from",
        "encoder.keras",
        lambda: loaded(root / "encoder.keras"),
        finite,
        archive,
        share=0.3,
    )
    yield reader(
        "detector.keras",
        "detector.keras",
        lambda: predictor.export.load_detector(root / "detector.keras"),
        lambda d: works(d.encoder),
        archive,
        share=0.3,
    )
    for name, change in (
        ("encoder.safetensors", mutate.any_of(mutate.bytes_of, mutate.safetensors_of)),
        ("encoder.pth", arrays),
        ("legacy.pth", legacy),
        ("moco.pth.tar", arrays),
    ):
        yield reader(
            f"{name}, --init_from",
            name,
            functools.partial(loaded, root / name),
            finite,
            change,
            share=0.5,
            known=(*(HEADERS if name.endswith("safetensors") else ()),),
        )
    yield reader(
        "config.json, --workdir",
        "run/config.json",
        lambda: open_again(root / "run"),
        lambda grown: isinstance(grown, dict),
        text,
        named=("config.json", "--workdir="),
        writes=("files/run/lock",),
        known=(
            mutate.exchanged(b'"epochs": 2', b'"epochs": "2"'),
            lambda data: b"[]",
            lambda data: b"{" * 9,
        ),
    )
    yield reader(
        "config.json beside an encoder",
        "run/config.json",
        lambda: features.center_crop(root / "run" / "encoder.keras"),
        lambda crop: isinstance(crop, bool),
        text,
        known=(
            lambda data: b"[]",
            lambda data: data[:20],
            lambda data: b"\xff",
        ),
    )
    yield reader(
        "predictions.npz",
        "predictions.npz",
        lambda: results.summarize(results.load(root / "predictions.npz")),
        lambda s: len(s["units"]) <= 12,
        arrays,
        share=0.5,
        known=(
            mutate.renamed("labels.npy", "labels"),
            mutate.renamed("test_0.npy", "x.npy"),
        ),
    )
    yield reader(
        "features.npz",
        "features.npz",
        lambda: features.read(root / "features.npz", 12),
        lambda x: x.shape[0] == 12 and np.isfinite(x).all(),
        arrays,
        known=(
            mutate.renamed("features.npy", "features"),
            mutate.renamed("features.npy", "x.npy"),
        ),
    )
    for name in ("scores.json", "config.json"):
        yield reader(
            f"{name}, trainers.report",
            f"evaluation/{name}",
            lambda: report.to_html(
                "x", report.overview([root / "evaluation"]), report.sections([root / "evaluation"])
            ),
            lambda page: page.startswith("<!doctype"),
            text,
            known=(
                lambda data: b"[]",
                lambda data: b"{}",
                lambda data: data[:50],
            ),
        )
    newest = f"step_{2 * STEPS:09d}"
    for name in (*checkpoints.FILES, checkpoints.SUMS):
        yield reader(
            f"checkpoint: {name}",
            f"checkpoints/{newest}/{name}",
            functools.partial(restored, root / "checkpoints", root / "whole" / newest),
            lambda name: name.startswith("step_"),
            share=0.5,
            writes=tuple(
                f"files/checkpoints/{newest}/{other}" for other in (*checkpoints.FILES, checkpoints.SUMS)
            ),
        )
    names = [f"{n}.jpg" for n in range(3)]
    yield reader(
        "journal.jsonl, trainers.align",
        "aligned/journal.jsonl",
        lambda: journal(root / "aligned", names),
        lambda entries: True,
        mutate.any_of(mutate.bytes_of, mutate.json_lines_of),
        named=("journal.jsonl", "of other settings"),
        writes=tuple(f"files/aligned/{n}" for n in names),
        known=(
            mutate.exchanged(b'"output": "0.jpg"', b'"output": "../canary.txt"'),
            mutate.exchanged(b'"stamp": [1, 2]', b'"stamp": 1'),
            mutate.exchanged(b'"frame"', b'"farme"'),
            lambda data: b"[]\n" + data,
            lambda data: b"{\n",
        ),
    )
    yield reader(
        "published.tsv",
        "published.tsv",
        functools.partial(with_constant, published, "TABLE", root / "published.tsv", published.load),
        lambda rows: all(np.isfinite(row.average) for row in rows),
        mutate.any_of(mutate.bytes_of, mutate.table_of("\t")),
        known=(
            mutate.exchanged(b"average", b"mean"),
            mutate.exchanged(b"42.8", b"x"),
            mutate.exchanged(b"gft", b"\xff"),
        ),
    )
    for name in ("clip.avi", "clip.mp4"):
        yield reader(
            f"{name}, trainers.predict",
            name,
            functools.partial(frames_written, root / name, root / "out.mp4"),
            right_shots,
            share=0.3,
            writes=("files/out.mp4",),
            known=(*([mutate.rate_of_avi] if name.endswith("avi") else []),),
        )
    for kind in ("jpg", "png", "gif", "tiff", "webp", "ppm"):
        yield reader(
            f"{kind}, read_image",
            f"a.{kind}",
            functools.partial(align.read_image, root / f"a.{kind}"),
            lambda image: image.ndim == 3 and image.shape[2] == 3,
            share=0.5,
        )
