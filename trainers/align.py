"""Align faces: `python -m trainers.align --input DIR_OR_VIDEO_OR_IMAGE --output DIR`.

Writes a crop of each picture's largest face under the picture's own path and name (of formats other than
JPEG and PNG: with .png appended), of frame N of a video as `<video>/<N>.jpg`, counted from 1; faces.csv with
a row for each face and for each picture or frame without one; contact_sheet.png, to be looked at. A run that
was killed goes on when the same command is given again.
"""

import collections
import concurrent.futures
import csv
import dataclasses
import functools
import itertools
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import tqdm
from absl import app, flags
from PIL import Image

import keras_emoco
from keras_emoco import align
from trainers import align_worker as worker
from trainers.align_input import cut_off, is_video, list_input
from trainers.align_journal import Journal

FLAGS = flags.FLAGS
COLUMNS = (
    "file", "frame", "face", "status", "reason", "confidence", "left", "top", "width", "height",
    *(f"{name}_{axis}" for name in align.LANDMARKS for axis in "xy"), "output",
)  # fmt: skip
# Pictures in a batch. The batches of a run that goes on must be those of a run that was not killed, because
# sums of another batch may differ in the last bit.
BATCH = 16
BATCH_BYTES = 50_000_000  # of frames; each worker has a batch or two in memory
SHOWN_FACES, SHOWN_FAILURES = 64, 16


def define_flags():
    """The flags of the program."""
    flags.DEFINE_string("input", None, "folder (with all its folders), video or picture", required=True)
    flags.DEFINE_string("output", None, "folder to write to: new, empty, or of a run to go on", required=True)
    flags.DEFINE_enum("faces", "largest", ["largest", "all"], "which faces of a picture are aligned")
    flags.DEFINE_integer("size", align.SIZE, "side of a crop in pixels", lower_bound=16, upper_bound=4096)
    flags.DEFINE_integer("every", 1, "of a video take frames 1, 1 + N, 1 + 2N, ...", lower_bound=1)
    cores = len(os.sched_getaffinity(0))
    flags.DEFINE_integer("workers", cores, "processes, each with its share of the cores", lower_bound=1)


def main(_):
    """Run, and say in a line why not."""
    # Of the workers: another backend would take the GPU for MTCNN's weights. Here Keras is loaded already.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        align_all(
            pathlib.Path(FLAGS.input),
            pathlib.Path(FLAGS.output),
            faces=FLAGS.faces,
            size=FLAGS.size,
            every=FLAGS.every,
            workers=FLAGS.workers,
        )
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    except BrokenProcessPool:
        sys.exit(
            "error: a worker died (out of memory?): run again, with fewer --workers; what is done is kept"
        )
    except KeyboardInterrupt:
        sys.exit("stopped: the same command goes on from here")


def align_all(
    source: pathlib.Path, output: pathlib.Path, *, faces: str, size: int, every: int, workers: int
) -> None:
    """List the input, align what is not yet aligned, report; the arguments are the flags of the program.

    Raises:
        ValueError: nothing to align, input and output in each other, or another run in the output.
        OSError: the input does not exist or cannot be listed, or the output not be written.
        ImportError: a package of the extra `align` is missing.
    """
    output = output.resolve()
    items = list_input(source, output)
    settings = {"input": str(source.resolve()), "version": keras_emoco.__version__}
    settings |= {"faces": faces, "size": size, "every": every}
    journal = Journal(output, settings, {item.file: item.stamp for item in items})
    align_batch = functools.partial(worker.align_batch, output=output, every_face=faces == "all", size=size)
    (output / "faces.csv").unlink(missing_ok=True)  # it may tell of what is not there any more
    run(align_batch, items, every, workers, journal)
    report(items, output, journal)


def run(align_batch: Callable, items: list[worker.Item], every: int, workers: int, journal: Journal) -> None:
    """Aligns what the journal does not have."""
    videos = [item for item in items if is_video(item.file)]
    total = len(items) - len(videos)
    total += sum(-(-align.announced_frames(item.image) // every) for item in videos)
    done = sum(key[1] is not None or not is_video(key[0]) for key in journal.entries)
    batches = _batches(items, every, journal)
    first = next(batches, None)
    if first is None:
        return
    with (
        concurrent.futures.ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.start_worker,
            initargs=(max(1, len(os.sched_getaffinity(0)) // workers),),
        ) as pool,
        tqdm.tqdm(
            total=total,
            initial=done,
            unit="image",
            smoothing=0.05,
            mininterval=1 if sys.stderr.isatty() else 30,
        ) as progress,
    ):
        running = set()

        def collect(when):
            finished, rest = concurrent.futures.wait(running, return_when=when)
            for future in finished:
                entries = future.result()
                journal.add(entries)
                progress.update(len(entries))
            return rest

        try:
            for batch in itertools.chain([first], batches):
                running.add(pool.submit(align_batch, batch))
                if len(running) >= 2 * workers:
                    running = collect(concurrent.futures.FIRST_COMPLETED)
            collect(concurrent.futures.ALL_COMPLETED)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _batches(items: list[worker.Item], every: int, journal: Journal) -> Iterator[list[worker.Item]]:
    """What is to be done, `BATCH` pictures or frames of one video at a time."""
    pictures = (
        item for item in items if not is_video(item.file) and (item.file, None) not in journal.entries
    )
    yield from in_batches(pictures)
    frames = collections.Counter(file for file, frame in journal.entries if frame is not None)
    for video in (item for item in items if is_video(item.file)):
        summary = journal.entries.get((video.file, None))
        if summary is None or frames[video.file] != summary["frames"]:
            yield from in_batches(_frames(video, every, frames[video.file], journal))


def in_batches(items: Iterable[Any], count: int = BATCH) -> Iterator[list]:
    """Lists of at most `count` items, and of few bytes where their `image` holds pixels."""
    batch, size = [], 0
    for item in items:
        batch.append(item)
        size += item.image.size if isinstance(item.image, np.ndarray) else 0
        if len(batch) == count or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _frames(video: worker.Item, every: int, frames: int, journal: Journal) -> Iterator[worker.Item]:
    """The frames that the journal does not have; at the end a summary of the video goes there.

    The number of frames in the summary tells a later run whether all of them have been aligned.
    """
    last, reason = 0, ""

    def wanted(number):
        nonlocal last
        last = number
        return (number - 1) % every == 0 and (video.file, number) not in journal.entries

    try:
        for number, image in align.frames(video.image, wanted):
            frames += 1
            yield dataclasses.replace(video, frame=number, image=image)
        reason = cut_off(video.image, last)
    except (ValueError, OSError) as error:
        reason = str(error)
    journal.add([worker.entry(video, "unreadable" if reason else "video", reason) | {"frames": frames}])


def report(items: list[worker.Item], output: pathlib.Path, journal: Journal) -> None:
    """Writes faces.csv and the contact sheet and says what was found."""
    entries = sorted(journal.entries.values(), key=lambda entry: (entry["file"], entry["frame"] or 0))
    partial = output / "faces.csv.partial"
    # Names of files need not be UTF-8.
    with open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for entry in entries:
            start = (entry["file"], "" if entry["frame"] is None else entry["frame"])
            for index, face in enumerate(entry["faces"]):
                numbers = (face["confidence"], *face["box"], *itertools.chain(*face["landmarks"]))
                writer.writerow((*start, index, entry["status"], "", *numbers, face["output"]))
            if not entry["faces"] and entry["status"] != "video":
                writer.writerow((*start, "", entry["status"], entry["reason"], *[""] * 15, ""))
    worker.save(contact_sheet(entries, items, output), output / "contact_sheet.png")
    partial.replace(output / "faces.csv")
    counts = collections.Counter(entry["status"] for entry in entries)
    print(
        f"{sum(len(entry['faces']) for entry in entries)} faces aligned; {counts['no_face']} pictures or "
        f"frames without a face, {counts['unreadable']} unreadable: all are in {output / 'faces.csv'}. "
        f"Look at {output / 'contact_sheet.png'}"
    )


def contact_sheet(entries: list[dict], items: list[worker.Item], output: pathlib.Path) -> Image.Image:
    """Some of the crops and of what was not aligned, evenly spaced."""
    paths = {item.file: item.image for item in items}
    crops = [face["output"] for entry in entries for face in entry["faces"]]
    failures = [entry for entry in entries if entry["status"] in ("no_face", "unreadable")]
    return align.contact_sheet(
        [align.read_image(output / path) for path in _some(crops, SHOWN_FACES)],
        [
            (f"{entry['file']} {entry['frame'] or ''}".strip(), _original(paths[entry["file"]], entry))
            for entry in _some(failures, SHOWN_FAILURES)
        ],
    )


def _some(things, count):
    return [
        things[i]
        for i in sorted({round(p) for p in np.linspace(0, len(things) - 1, min(count, len(things)))})
    ]


def _original(path, entry):
    if entry["status"] == "unreadable":
        return None
    if entry["frame"] is None:
        return align.read_image(path)
    return next(align.frames(path, lambda number: number == entry["frame"]))[1]


if __name__ == "__main__":
    define_flags()
    app.run(main)
