"""Action units of faces: `python -m trainers.predict PICTURES VIDEOS FOLDERS --detector=FILE --output=DIR`.

Writes predictions.csv, with a row for each face and for each picture or frame without one or that cannot be
read, and annotated/, the pictures and videos (without sound) with bars beside each face. Times in a video are
frames divided by its rate. What is read goes through in small batches: memory does not grow with a video.
"""

import collections
import contextlib
import csv
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator, Sequence

import tqdm
from absl import app, flags, logging
from PIL import Image

from keras_emoco import align
from trainers import align_worker, predictor, recordings
from trainers.align import BATCH, in_batches
from trainers.annotate import annotated
from trainers.sources import WEBCAM, Shot, Source, list_sources, shots

FLAGS = flags.FLAGS
COLUMNS = (
    "file",
    "frame",
    "time",
    "face",
    "status",
    "reason",
    "confidence",
    "left",
    "top",
    "width",
    "height",
)


def define_flags():
    """What predicts, on what, and where to."""
    flags.DEFINE_string("detector", None, "file of a saved keras_emoco.AUDetector", required=True)
    flags.DEFINE_string("output", None, "folder to write to; must not exist", required=True)
    flags.DEFINE_enum(
        "input", "files", ["files", WEBCAM], "the files and folders named, or the first camera until Ctrl-C"
    )
    flags.DEFINE_integer("every", 1, "of a video take frames 1, 1 + N, 1 + 2N, ...", lower_bound=1)
    flags.DEFINE_integer("image_size", None, "side of the images, for a detector that takes any")
    flags.DEFINE_bool(
        "center_crop",
        None,
        "the detector sees the central 224/256 of an aligned face, not the whole; default as the run beside "
        "it has it",
    )


def main(arguments):
    """Predict, and say in a line why not."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    output = pathlib.Path(FLAGS.output)
    partial = output.with_name(f"{output.name}.partial")
    try:
        if FLAGS.input == WEBCAM and FLAGS.every != 1:
            raise ValueError(f"--every={FLAGS.every} is for videos: leave it out with --input=webcam")
        sources = list_sources(arguments[1:], FLAGS.input, output)
        predict = predictor.load(pathlib.Path(FLAGS.detector), FLAGS.image_size, FLAGS.center_crop)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        counts = predict_all(sources, predict, partial, FLAGS.every)
        os.replace(partial, output)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"stopped: what was done until then is in {partial}, until the next run")
    print(
        f"{counts['face']} faces; {counts['no_face']} pictures or frames without a face, "
        f"{counts['unreadable']} unreadable: all are in {output / 'predictions.csv'}. "
        f"Look at {output / 'annotated'}"
    )


def predict_all(
    sources: Sequence[Source], predict: predictor.Predictor, output: pathlib.Path, every: int = 1
) -> collections.Counter:
    """Writes predictions.csv and annotated/; returns how many rows have which status.

    Args:
        sources: what to read.
        predict: gives the faces.
        output: an empty folder.
        every: of a video take frames 1, 1 + `every`, 1 + 2 `every`, ...

    Raises:
        OSError: it cannot be written, or there is no camera.
        ImportError: OpenCV is missing.
    """
    counts = collections.Counter()
    with (
        # Names of files need not be UTF-8.
        open(output / "predictions.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        contextlib.closing(Annotations(output / "annotated", every)) as annotations,
        tqdm.tqdm(
            total=_total(sources, every),
            unit="image",
            smoothing=0.05,
            mininterval=1 if sys.stderr.isatty() else 30,
        ) as progress,
    ):
        table = csv.writer(file)
        table.writerow((*COLUMNS, *predict.names))
        # A camera does not wait until a batch is full.
        size = 1 if sources[0].file == WEBCAM else BATCH
        try:
            for batch in in_batches(shots(sources, every), size):
                readable = [shot for shot in batch if shot.image is not None]
                faces = iter(predict([shot.image for shot in readable]))
                for shot in batch:
                    found = [] if shot.image is None else next(faces)
                    if shot.image is None:
                        progress.write(f"unreadable: {shot.reason}", file=sys.stderr)
                    else:
                        annotations.add(shot, annotated(shot.image, found, predict.names))
                    written = list(rows(shot, found, len(predict.names)))
                    table.writerows(written)
                    counts.update(row[COLUMNS.index("status")] for row in written)
                progress.update(len(batch))
        except KeyboardInterrupt:
            # It is how one ends a webcam.
            if sources[0].file != WEBCAM:
                raise
    return counts


def _total(sources, every):
    if sources[0].file == WEBCAM:
        return None
    frames = [align.announced_frames(source.file) for source in sources if source.moving]
    return len(sources) - len(frames) + sum(-(-count // every) for count in frames)


def rows(shot: Shot, faces: Sequence[predictor.Face], units: int) -> Iterator[tuple]:
    """The rows of predictions.csv for a picture or frame: one for each face, or the one that says why not."""
    start = (
        shot.source.file,
        "" if shot.frame is None else shot.frame,
        "" if shot.time is None else round(shot.time, 3),
    )
    for number, face in enumerate(faces):
        box = (round(side, 2) for side in face.place.box)
        probabilities = (round(float(p), 6) for p in face.probabilities)
        yield (*start, number, "face", "", round(face.place.confidence, 4), *box, *probabilities)
    if not faces:
        status = "unreadable" if shot.image is None else "no_face"
        yield (*start, "", status, shot.reason, *[""] * (5 + units))


class Annotations:
    """Writes annotated pictures and videos below a folder; frames of one video must come in a row.

    Args:
        folder: the folder; made with the first picture.
        every: which frames of a video come, as for `predict_all`.
    """

    def __init__(self, folder: pathlib.Path, every: int):
        self._folder, self._every = folder, every
        self._source, self._video = None, None

    def add(self, shot: Shot, picture: Image.Image) -> None:
        """Writes a picture, or the next frame of a video."""
        path = self._folder / shot.source.annotated
        if not shot.source.moving:
            align_worker.save(picture, path)
            return
        if shot.source != self._source:
            self.close()
            webcam = shot.source.file == WEBCAM
            rate = recordings.WEBCAM_RATE if webcam else recordings.frame_rate(shot.source.file) / self._every
            self._source, self._video = shot.source, recordings.Writer(path, rate)
        self._video.write(picture, shot.time)

    def close(self) -> None:
        """Ends the video that is being written."""
        if self._video is not None:
            self._video.close()


if __name__ == "__main__":
    define_flags()
    app.run(main)
