"""An encoder or a detector in the formats that others read, and what each gives when it is read back.

Runs on the TensorFlow backend. The program is `trainers.export`.
"""

import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_emoco import augment, weights

SUFFIXES = {
    "tf_saved_model": "",
    "onnx": ".onnx",
    "litert": ".tflite",
    "keras": ".keras",
    "torch": ".safetensors",
}


@dataclasses.dataclass(frozen=True)
class Network:
    """What is exported: float32, every variable trainable.

    Attributes:
        encoder: images `(batch, size, size, 3)` to `(batch, F)` features.
        detector: the `AUDetector` on top of it, or None.
        image_size: side of the images in pixels.
        center_crop: whether the fixed view is the central 224/256 of a picture, not the whole.
    """

    encoder: keras.Model
    detector: keras.Model | None
    image_size: int
    center_crop: bool

    @property
    def action_units(self) -> list[str]:
        """Names of the detector's units, `AU1` and so on, in the order of its probabilities."""
        return [f"AU{unit}" for unit in self.detector.action_units] if self.detector else []

    def features(self, images):
        """`{"features": (batch, F)}` of normalised images."""
        return {"features": self.encoder(images, training=False)}

    def probabilities(self, images):
        """`{"probabilities": (batch, A)}` of normalised images."""
        return {"probabilities": self.detector(images, training=False)["probabilities"]}

    def outputs(self, images):
        """The detector's probabilities, or the features where there is no detector."""
        return self.probabilities(images) if self.detector else self.features(images)

    def view(self, encoded):
        """`{"images": (batch, size, size, 3)}`: the fixed views of the bytes of pictures `(batch,)`."""
        size = self.image_size
        with tf.device("CPU:0"):  # Where pictures are decoded, whatever trains.
            images = tf.map_fn(
                lambda picture: augment.center_view(picture, size, crop=self.center_crop),
                encoded,
                fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
            )
        return {"images": images}

    def serve(self, encoded):
        """From the bytes of files to `outputs`, each probability with the name of its unit beside it."""
        found = self.outputs(self.view(encoded)["images"])
        if self.detector:
            # A row for each picture: TensorFlow Serving splits all outputs along the batch.
            found["action_units"] = tf.tile([self.action_units], [tf.shape(encoded)[0], 1])
        return found

    def model(self) -> keras.Model:
        """A model from normalised images to `outputs`, for the formats that hold one function."""
        size = self.image_size
        images = keras.Input((size, size, 3), name="images")
        return keras.Model(images, self.outputs(images))


def write(network: Network, name: str, path: pathlib.Path, calibration: np.ndarray | None = None) -> None:
    """Write a network.

    Args:
        network: what.
        name: of the format, a key of `SUFFIXES`.
        path: where; ends in the format's suffix.
        calibration: `(n, size, size, 3)` views of typical faces; with them LiteRT computes in int8.
    """
    signature = [keras.InputSpec("float32", (None, network.image_size, network.image_size, 3), name="images")]
    if name == "tf_saved_model":
        _write_saved_model(network, path)
    elif name == "onnx":
        network.model().export(path, format="onnx", verbose=False, input_signature=signature)
    elif name == "litert":
        options = {} if calibration is None else _int8(calibration)
        network.model().export(path, format="litert", verbose=False, input_signature=signature, **options)
    elif name == "keras":
        (network.detector or network.encoder).save(path)
    else:
        weights.save(network.encoder, path)


def _write_saved_model(network, path):
    size = network.image_size
    images = tf.TensorSpec((None, size, size, 3), tf.float32, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="encoded")
    archive = keras.export.ExportArchive()
    archive.track(network.detector or network.encoder)
    archive.add_endpoint("serving_default", network.serve, [encoded])
    archive.add_endpoint("view", network.view, [encoded])
    archive.add_endpoint("features", network.features, [images])
    if network.detector:
        archive.add_endpoint("probabilities", network.probabilities, [images])
    archive.write_out(path, verbose=False)


def _int8(views):
    """Options of the LiteRT converter: weights and activations in int8, inputs and outputs in float32."""
    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: ([view[None]] for view in views),
        "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    }


def read(network: Network, name: str, path: pathlib.Path):
    """A function from normalised images to the `outputs` of a file, by the program that others read it with.

    Args:
        network: what was exported to it.
        name: of the format.
        path: the file or directory.

    Returns:
        Function from float32 `(n, size, size, 3)` to `(n, F)` features or `(n, A)` probabilities.
    """
    if name == "tf_saved_model":
        loaded = tf.saved_model.load(path)
        signature = loaded.signatures["probabilities" if network.detector else "features"]
        # The variables go with the object: it must outlive its function.
        return lambda images, _=loaded: next(iter(signature(images=tf.constant(images)).values())).numpy()
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]
    if name == "litert":
        return _read_litert(path)
    if name == "keras":
        loaded = keras.saving.load_model(path, compile=False)
    else:
        loaded = keras.models.clone_model(network.encoder)
        weights.load(loaded, path)
    read = dataclasses.replace(network, **{"detector" if network.detector else "encoder": loaded})
    return lambda images: next(iter(read.outputs(images).values())).numpy()


def _read_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    run = interpreter.get_signature_runner()

    def outputs(images):
        # One at a time: int8 files are made for batches of any size and calibrated on single faces.
        rows = [next(iter(run(images=image[None]).values())) for image in images]
        return np.concatenate(rows)

    return outputs
