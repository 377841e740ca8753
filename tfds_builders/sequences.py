"""From the frames of sequences to the examples of a split, counted: one after another, or on Apache Beam.

What the builders of DISFA, BP4D and GFT share. Not for reading their files: each passes a function for that.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from tfds_builders import alignment, counts

NO_FACE = "no face found"


@dataclasses.dataclass(frozen=True)
class Frame:
    """What reading a sequence yields: a frame with its example, or a frame or sequence that is left out.

    Attributes:
      name: Unique in the data set: its key, and what the counts call it.
      subject: Whose it is, the counts' key.
      example: What to store; None for what is left out.
      reason: Why it is left out.
      units: Numbers of the action units that its labels tell, also where it is left out.
      notes: What is peculiar though it is stored.
    """

    name: str
    subject: str
    example: dict[str, Any] | None = None
    reason: str = ""
    units: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


Reader = Callable[[Any], Iterator[Frame]]


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

    def add(self, event: Sequence[str], file: str, number: int = 1) -> None:
        """Counts one of `events(frame)`, so many times."""
        kind, *rest = event
        if kind == "read":
            self._frames.read(rest[0], number)
        elif kind == "unit" and rest[0] in self._documented:
            self._units.read(f"AU{rest[0]}", number)
        for _ in range(number):
            if kind == "skip":
                self._frames.skip(rest[0], file, key=rest[1])
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


class SequenceBuilder(alignment.AligningBuilder, skip_registration=True):
    """A builder that passes `_generate_examples` the sequences of a split and a function that reads one.

    It runs on Beam if the download config has Beam options (on the command line `--beam_pipeline_options`),
    with a sequence as the unit of work; the sequences and the function must be picklable, and the counts name
    subjects where they otherwise name frames.
    """

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        config = download_config or tfds.download.DownloadConfig()
        self._on_beam = bool(config.beam_options or config.beam_runner)
        self._tallies: dict[str, Tally] = {}
        super().download_and_prepare(download_config=download_config, **kwargs)

    def _generate_examples(self, split: str, sequences: Sequence[Hashable], read: Reader, tally: Tally):
        if not self._on_beam:
            return _examples(sequences, read, tally)
        self._tallies[split] = tally
        beam = tfds.core.lazy_imports.apache_beam
        return (
            beam.Create(list(sequences), reshuffle=True)
            | "Read" >> beam.FlatMap(read)
            | "Count" >> beam.Filter(_count_on_beam, split=split)
            | "Key" >> beam.Map(lambda frame: (frame.name, frame.example))
        )

    def _process_pipeline_result(self, pipeline_result: Any) -> None:
        for counter in pipeline_result.metrics().query()["counters"]:
            tally = self._tallies.get(counter.key.metric.namespace.removeprefix(_NAMESPACE))
            if tally:
                event = counter.key.metric.name.split("\t")
                tally.add(event, event[-1], counter.committed or counter.attempted)
        for tally in self._tallies.values():
            tally.report()


_NAMESPACE = "tfds_builders "


def _examples(sequences, read, tally) -> Iterator[tuple[str, dict]]:
    for sequence in sequences:
        for frame in read(sequence):
            for event in events(frame):
                tally.add(event, frame.name)
            if frame.example is not None:
                yield frame.name, frame.example
    tally.report()


def _count_on_beam(frame: Frame, split: str) -> bool:
    counter = tfds.core.lazy_imports.apache_beam.metrics.Metrics.counter
    for event in events(frame):
        counter(_NAMESPACE + split, "\t".join(event)).inc()
    return frame.example is not None
