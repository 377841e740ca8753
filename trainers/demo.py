"""A page to try a detector on: `python -m trainers.demo --detector=FILE`, then open http://127.0.0.1:7860.

Drop a picture: its largest face aligned, the probability of each action unit and, where there are faces with
emotions, the commonest emotion of the nearest and those most alike within one. Nothing leaves this machine
unless --share or --host asks for it.
"""

import os
import pathlib
import sys

import numpy as np
from absl import app, flags, logging

# Gradio reads it when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from keras_emoco import align
from trainers import data, features, gallery, predictor

FLAGS = flags.FLAGS
# Uploaded faces are removed after so many seconds.
KEPT = 3600


def define_flags():
    """What predicts, whose faces are shown beside, and who may see the page."""
    flags.DEFINE_string("detector", None, "file of a saved keras_emoco.AUDetector", required=True)
    flags.DEFINE_integer("image_size", None, "side of the images, for a detector or encoder that takes any")
    flags.DEFINE_string(
        "encoder", None, "encoder.keras whose features say which faces are alike; default the detector's"
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "TFDS name of faces with emotions, to show the nearest of; default that of the run beside the "
        "encoder, or else beside the detector, where it is built; mind the data's licence",
    )
    flags.DEFINE_integer("max_faces", 2000, "choose among so many faces of its training split", lower_bound=1)
    data.define_flags()
    flags.DEFINE_string("host", "127.0.0.1", "address to listen at; 0.0.0.0 lets the whole network in")
    flags.DEFINE_integer("port", 7860, "to listen at", lower_bound=1, upper_bound=65535)
    flags.DEFINE_bool(
        "share", False, "let anyone in who knows the link that Gradio gives out, over its server"
    )


def main(_):
    """Load, serve until stopped, and say in a line why not."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        predict = predictor.load(pathlib.Path(FLAGS.detector), FLAGS.image_size)
        blocks = page(predict, load_gallery(predict))
        blocks.launch(
            server_name=FLAGS.host,
            server_port=FLAGS.port,
            share=FLAGS.share,
            footer_links=[],
            max_file_size="50mb",
        )
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


def load_gallery(predict: predictor.Predictor) -> gallery.Gallery | None:
    """The faces to show the nearest of; None where no data set is named, or known from the run beside.

    Raises:
        FileNotFoundError: there is no encoder.
        ValueError: the file holds none, or the data set has no emotions.
    """
    source = pathlib.Path(FLAGS.encoder or FLAGS.detector)
    encoder = predict.detector.encoder, predict.image_size, predict.center_crop
    if FLAGS.encoder:
        encoder = (*features.load_encoder(source, FLAGS.image_size), features.center_crop(source))
    dataset = FLAGS.dataset or gallery.built_for(source, FLAGS.data_dir)
    dataset = dataset or gallery.built_for(pathlib.Path(FLAGS.detector), FLAGS.data_dir)
    if not dataset:
        print("no data set with emotions is known: name one by --dataset to see the faces most alike")
        return None
    print(f"features of faces of {dataset}:")
    return gallery.load(data.prepare(dataset, FLAGS.data_dir, FLAGS.manual_dir), *encoder, FLAGS.max_faces)


def examine(
    predict: predictor.Predictor, faces: gallery.Gallery | None, file: str | None, emotion: str | None
) -> tuple[np.ndarray | None, dict[str, float] | None, str | None, list[tuple], str]:
    """What the page shows of a picture.

    Args:
        predict: gives the faces.
        faces: to show the nearest of, or None.
        file: the picture, or None where it was taken away.
        emotion: of the faces to show; None for the commonest of the nearest.

    Returns:
        The largest face aligned, uint8 `(256, 256, 3)`; probability of each action unit by its name; the
        emotion of the faces shown; nearest faces with captions; a sentence on what was found. Without a face
        the first two are None.

    Raises:
        ValueError, OSError: the picture cannot be read.
    """
    if file is None:
        return None, None, emotion, [], "Give a picture with a face."
    [found] = predict([align.read_image(file)])
    if not found:
        return None, None, emotion, [], "No face was found: try a larger or more frontal one."
    face = found[0]
    text = (
        f"{len(found)} faces were found; the largest is shown." if len(found) > 1 else "One face was found."
    )
    if faces and emotion is None:
        emotion = faces.emotion_of(face.crop)
        text += f" The commonest emotion of the {gallery.VOTERS} training faces nearest to it is {emotion}."
    nearest = faces.nearest(face.crop, emotion) if faces else []
    probabilities = dict(zip(predict.names, map(float, face.probabilities), strict=True))
    return face.crop, probabilities, emotion, nearest, text


def page(predict: predictor.Predictor, faces: gallery.Gallery | None):
    """The page, a `gradio.Blocks`.

    Raises:
        ImportError: Gradio is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise ImportError("the demo needs Gradio: pip install 'keras-emoco[demo]'") from error

    def show(file, emotion):
        try:
            return examine(predict, faces, file, emotion)
        except (ValueError, OSError) as error:
            raise gradio.Error(str(error)) from error

    emotions = faces.emotions if faces else []
    # Without it there is a button that uploads to Hugging Face.
    buttons = ["download", "fullscreen"]
    with gradio.Blocks(title="Action units", delete_cache=(KEPT, KEPT)) as blocks:
        gradio.Markdown("# Action units of a face")
        with gradio.Row():
            picture = gradio.Image(type="filepath", image_mode=None, label="picture", height=320)
            crop = gradio.Image(
                format="png", label="aligned face", height=320, interactive=False, buttons=buttons
            )
            bars = gradio.Label(label="probability of each action unit", show_heading=False)
        text = gradio.Markdown("Give a picture with a face.")
        emotion = gradio.Dropdown(
            emotions, value=None, label="emotion of the training faces shown", visible=bool(emotions)
        )
        nearest = gradio.Gallery(
            label="nearest training faces of this emotion",
            columns=6,
            height=240,
            visible=bool(emotions),
            buttons=buttons,
        )
        shown = [crop, bars, emotion, nearest, text]
        # A new picture chooses the emotion; a user's choice, unlike the program's, is an `input`.
        picture.change(lambda file: show(file, None), [picture], shown, api_name="picture")
        emotion.input(show, [picture, emotion], shown, api_name="show")
    return blocks


if __name__ == "__main__":
    define_flags()
    app.run(main)
