"""What runs on the workers of Apache Beam: reading images, and counting what they give.

Not for builds without Beam: it imports Apache Beam, so `sequences` imports it only where a build runs on it.
"""

import collections
import contextlib
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from tfds_builders import archives, counts, sequences

CHUNK = 100  # Images in a unit of work: enough that handing it out costs little, few enough to share evenly.


def chunks(path: pathlib.Path, listing: sequences.Listing) -> Iterator[list[Any]]:
    """Yields what `listing` yields for the archive at `path`, in lists; no more than one is in memory."""
    with archives.open_archive(path) as archive:
        items = iter(listing(archive))
        while chunk := list(itertools.islice(items, CHUNK)):
            yield chunk


class ReadImages(beam.DoFn):
    """Reads the images of chunks, from an archive that each worker opens once: its directory can be long.

    Args:
      path: The archive.
      read: As in `sequences.frames`.
    """

    def __init__(self, path: pathlib.Path, read: sequences.ImageReader):
        self._path, self._read = path, read

    def setup(self):
        self._stack = contextlib.ExitStack()
        self._archive = self._stack.enter_context(archives.open_archive(self._path))

    def process(self, element: list[Any]) -> Iterator[sequences.Frame]:
        yield from sequences.frames(self._archive, element, self._read)

    def teardown(self):
        self._stack.close()


class Count(beam.DoFn):
    """Counts frames by Beam's counters; passes on the examples of those that are stored, with their keys.

    Args:
      namespace: Of the counters. Their names are the parts of an event, or "name", what was skipped or noted,
        and a file; each worker names its first ones, because every counter is sent about.
    """

    def __init__(self, namespace: str):
        self._namespace = namespace

    def setup(self):
        self._named = collections.Counter()

    def process(self, element: sequences.Frame) -> Iterator[tuple[str, dict[str, Any]]]:
        for event in sequences.events(element):
            self._increment(event)
            if event[0] in sequences.NAMED and self._named[event[1]] < counts.SHOWN_FILES:
                self._named[event[1]] += 1
                self._increment(("name", event[1], element.name))
        if element.example is not None:
            yield element.key or element.name, element.example

    def _increment(self, event: tuple[str, ...]) -> None:
        beam.metrics.Metrics.counter(self._namespace, "\t".join(event)).inc()
