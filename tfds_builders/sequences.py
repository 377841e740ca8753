"""From images or the frames of sequences to the examples of a split, counted: in turn, or on Apache Beam.

Not for reading the files of a data set: each builder passes functions for that.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_builders import archives, configs, counts

NO_FACE = "no face found"


@dataclasses.dataclass(frozen=True)
class Frame:
    """An image or a frame of a sequence, with its example; or one, or a sequence, that is left out.

    Attributes:
      name: Unique in the data set: its key, and what the counts call it.
      subject: The counts' key: whose it is, or its class. Empty where it is left out and has none.
      example: What to store; None for what is left out.
      reason: Why it is left out.
      units: Numbers of the action units that its labels tell, also where it is left out.
      notes: What is peculiar though it is stored.
      key: Its key in the data set, if that is not its name.
    """

    name: str
    subject: str
    example: dict[str, Any] | None = None
    reason: str = ""
    units: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    key: str = ""


Reader = Callable[[Any], Iterator[Frame]]
# What a split lists, in order, without opening an image: something about each image, as the builder likes, or
# the `Frame` of one that is left out. And what makes a `Frame` of such a thing, by reading the image.
Listing = Callable[[archives.Archive], Iterable[Any]]
ImageReader = Callable[[archives.Archive, Any], Frame]


class Tally:
    """The counts of one split: frames by subject, and labels by action unit.

    Args:
      frames: Takes what is stored and what is left out.
      units: Documented number of positive labels by action unit; others are not counted. May be empty.
      title: Of the table of labels.
      strict: As in `counts.Counts`.
    """

    def __init__(self, frames: counts.Counts, units: Mapping[int, int], title: str, strict: bool):
        self._frames = frames
        self._units = counts.Counts(
            title, {f"AU{unit}": number for unit, number in units.items()}, total=False, strict=strict
        )
        self._documented = {str(unit) for unit in units}

    def add(self, event: Sequence[str], file: str) -> None:
        """Counts one of `events(frame)`."""
        kind, *rest = event
        if kind == "read":
            self._frames.read(rest[0])
        elif kind == "unit" and rest[0] in self._documented:
            self._units.read(f"AU{rest[0]}")
        elif kind == "skip":
            self._frames.skip(rest[0], file, key=rest[1] or None)
        elif kind == "note":
            self._frames.note(rest[0], file)

    def report(self) -> None:
        """As `counts.Counts.report`, both tables."""
        self._frames.report()
        if self._documented:
            self._units.report()


def events(frame: Frame) -> Iterator[tuple[str, ...]]:
    """Yields what a `Tally` and Beam's counters count of a frame."""
    yield ("read", frame.subject) if frame.example is not None else ("skip", frame.reason, frame.subject)
    yield from (("unit", str(unit)) for unit in frame.units)
    yield from (("note", note) for note in frame.notes)


NAMED = ("skip", "note")  # The kinds of events of which the counts name some files.


def frames(archive: archives.Archive, items: Iterable[Any], read: ImageReader) -> Iterator[Frame]:
    """Yields the frames of what a `Listing` lists."""
    for item in items:
        yield item if isinstance(item, Frame) else read(archive, item)


class SequenceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that passes `_generate_examples` the sequences of a split and a function that reads one.

    Or, for images that do not belong together, it passes `_image_examples` functions that list and read them.

    It runs on Beam if the download config has Beam options (on the command line `--beam_pipeline_options`),
    with a sequence, or some images, as the unit of work; what is passed must be picklable. The counts are the
    same, but of the files that are left out or peculiar they may name others than the first.

    Attributes:
      ALL_CONFIGS: Those that are accepted by name; `BUILDER_CONFIGS` lists only the first.
    """

    ALL_CONFIGS: ClassVar[tuple[tfds.core.BuilderConfig, ...]] = ()

    def __init__(self, *, strict: bool = False, **kwargs: Any):
        """As `tfds.core.DatasetBuilder`; `strict` makes a copy that differs from a full one an error."""
        self._strict = strict
        super().__init__(**kwargs)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> tfds.core.BuilderConfig:
        if not cls.ALL_CONFIGS:
            return super().get_builder_config(name, version)
        return configs.choose(name, cls.ALL_CONFIGS)

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        config = download_config or tfds.download.DownloadConfig()
        self._on_beam = bool(config.beam_options or config.beam_runner)
        self._tallies: dict[str, Tally] = {}
        super().download_and_prepare(download_config=download_config, **kwargs)

    def _generate_examples(self, split: str, sequences: Sequence[Hashable], read: Reader, tally: Tally):
        if not self._on_beam:
            return _examples((frame for sequence in sequences for frame in read(sequence)), tally)
        beam = tfds.core.lazy_imports.apache_beam
        read_all = beam.Create(list(sequences), reshuffle=True) | "Read" >> beam.FlatMap(read)
        return self._counted_on_beam(split, read_all, tally)

    def _image_examples(
        self, split: str, path: pathlib.Path, listing: Listing, read: ImageReader, tally: Tally
    ):
        """As `_generate_examples`, for the images of the folder or archive at `path`."""
        if not self._on_beam:
            return _examples(_frames_of(path, listing, read), tally)
        beam = tfds.core.lazy_imports.apache_beam
        from tfds_builders import on_beam  # Here, since it needs Beam.

        # A worker lists them, so that a list of any length is neither in memory at once nor in the pipeline.
        read_all = (
            beam.Create([path])
            | "List" >> beam.FlatMap(on_beam.chunks, listing)
            | beam.Reshuffle()
            | "Read" >> beam.ParDo(on_beam.ReadImages(path, read))
        )
        return self._counted_on_beam(split, read_all, tally)

    def _counted_on_beam(self, split: str, read_all: Any, tally: Tally):
        from tfds_builders import on_beam  # Here, since it needs Beam.

        self._tallies[split] = tally
        return read_all | "Count" >> tfds.core.lazy_imports.apache_beam.ParDo(
            on_beam.Count(_NAMESPACE + split)
        )

    def _process_pipeline_result(self, pipeline_result: Any) -> None:
        numbers = {split: collections.Counter() for split in self._tallies}
        for counter in pipeline_result.metrics().query()["counters"]:
            split = counter.key.metric.namespace.removeprefix(_NAMESPACE)
            if split in numbers:
                event = tuple(counter.key.metric.name.split("\t", 2))  # A file's name may have tabs.
                numbers[split][event] += counter.committed or counter.attempted
        for split, tally in self._tallies.items():
            _add_all(numbers[split], tally)
            tally.report()


_NAMESPACE = "tfds_builders "


def _frames_of(path: pathlib.Path, listing: Listing, read: ImageReader) -> Iterator[Frame]:
    with archives.open_archive(path) as archive:
        yield from frames(archive, listing(archive), read)


def _examples(read_all: Iterable[Frame], tally: Tally) -> Iterator[tuple[str, dict]]:
    for frame in read_all:
        for event in events(frame):
            tally.add(event, frame.name)
        if frame.example is not None:
            yield frame.key or frame.name, frame.example
    tally.report()


def _add_all(numbers: collections.Counter, tally: Tally) -> None:
    """Adds events with their numbers; of those that are named some come with a name."""
    names = collections.defaultdict(list)
    for kind, what, *rest in sorted(numbers):
        if kind == "name":
            names[what] += rest
    names = {what: iter(files) for what, files in names.items()}
    for event, number in sorted(numbers.items()):
        for _ in range(number if event[0] != "name" else 0):
            tally.add(event, next(names[event[1]], "") if event[0] in NAMED else "")
