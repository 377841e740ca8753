"""Finds and reads the files of sets that lie in many folders and archives, unpacked by each user otherwise.

One file's bytes are held at a time, and no list of all. Not for sets in one folder or archive, which
`archives.search` finds.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from PIL import Image

from tfds_builders import archives

# What is read in place; unpacking a .tar.gz for each sequence again would take hours.
ARCHIVE_SUFFIXES = (".zip", ".tar")
PACKED_SUFFIXES = (".rar", ".7z", ".tar.gz", ".tgz", ".gz", ".001")
SHOWN_NAMES = 8


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """A file or folder: `path` itself, or `member` of the archive `path`."""

    path: pathlib.Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    @property
    def parent(self) -> "Place":
        """The folder it lies in; for the outermost files of an archive the archive."""
        if not self.member:
            return Place(self.path.parent)
        return Place(self.path, self.member.rpartition("/")[0])


def walk(
    folder: pathlib.Path, unreadable: list[archives.ArchiveError] | None = None
) -> Iterator[tuple[str, Place]]:
    """Yields all files in `folder`, in the folders below, and in their archives; sorted in each folder.

    The path that comes with each file is made to be searched for the names of subjects and sequences: it has
    forward slashes, is relative to `folder`, and in an archive begins with the archive's path without suffix,
    since `F001.zip` may hold `T1/` alone. Left out is what operating systems add, as in `archives.Archive`.

    Args:
      folder: The manual directory.
      unreadable: Takes the errors of damaged archives, which may be of other sets; else they are raised.

    Raises:
      ArchiveError: for symbolic links and devices.
    """
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name in ("__MACOSX", "Thumbs.db"):
            continue
        place = Place(pathlib.Path(entry.path))
        if entry.is_dir(follow_symlinks=False):
            yield from ((f"{entry.name}/{path}", inner) for path, inner in walk(place.path, unreadable))
        elif not entry.is_file(follow_symlinks=False):
            raise archives.ArchiveError(
                f"{place}: is a link or a device, which is refused: put the file or folder itself there, or "
                "pass the folder that it leads to as the manual directory."
            )
        elif entry.name.endswith(ARCHIVE_SUFFIXES):
            try:
                with archives.open_archive(place.path) as archive:
                    names = archive.names
            except archives.ArchiveError as error:
                if unreadable is None:
                    raise
                unreadable.append(error)
                continue
            for name in names:
                yield f"{entry.name.rpartition('.')[0]}/{name}", Place(place.path, name)
        else:
            yield entry.name, place


def listing(folder: pathlib.Path) -> str:
    """Returns what lies in `folder`, for messages that something else was not found there."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    text = ", ".join(names[:SHOWN_NAMES]) + (f", ... ({len(names)} in all)" if names[SHOWN_NAMES:] else "")
    packed = [name for name in names if name.lower().endswith(PACKED_SUFFIXES)]
    return (text or "nothing") + (f"; unpack {packed[0]} first" if packed else "")


class Reader(contextlib.ExitStack):
    """Reads places; inside one `with` statement each archive is opened once."""

    def __init__(self):
        super().__init__()
        self._archives: dict[pathlib.Path, archives.Archive] = {}

    def read(self, place: Place) -> bytes:
        """Returns the bytes of a file.

        Raises:
          ArchiveError: it cannot be read, or is larger than `archives` allows.
        """
        if place.member:
            return self._archive(place.path).read(place.member)
        try:
            if place.path.stat().st_size > archives.MAX_BYTES:
                raise archives.ArchiveError(
                    f"{place}: has more than {archives.MAX_BYTES:,} bytes, which is refused: get it again."
                )
            return place.path.read_bytes()
        except OSError as error:
            raise archives.ArchiveError(f"{place}: cannot be read ({error}): get it again.") from error

    def image(self, place: Place) -> bytes:
        """Returns the bytes of a JPEG or PNG file.

        Raises:
          ImageError: it does not decode from its first to its last row.
          ArchiveError: as `read`, and for an image of so many pixels that it must be a bomb.
        """
        data = self.read(place)
        try:
            with Image.open(io.BytesIO(data), formats=archives.STORED_FORMATS) as image:
                image.load()
        except Image.DecompressionBombError as error:
            raise archives.ArchiveError(
                f"{place}: is refused ({error}): get the image from its original source."
            ) from error
        except Exception as error:  # Decoders raise many kinds of errors; the remedy is the same.
            raise archives.ImageError(
                f"{place}: does not decode as a JPEG or PNG image ({error}): replace it by an intact copy."
            ) from error
        return data

    def files(self, folder: Place) -> list[Place]:
        """Returns the files directly in a folder, sorted."""
        if not folder.path.is_dir():
            prefix = f"{folder.member}/" if folder.member else ""
            names = [name for name in self._archive(folder.path).names if name.startswith(prefix)]
            return [Place(folder.path, name) for name in names if "/" not in name.removeprefix(prefix)]
        return sorted(
            Place(pathlib.Path(e.path)) for e in os.scandir(folder.path) if e.is_file(follow_symlinks=False)
        )

    def unpack(self, place: Place) -> pathlib.Path:
        """Returns the path of a file, unpacked for the length of the `with` statement if it is in an archive.

        Raises:
          ArchiveError: as `read`.
        """
        if not place.member:
            return place.path
        folder = pathlib.Path(tempfile.mkdtemp())
        self.callback(shutil.rmtree, folder)
        path = folder / pathlib.PurePosixPath(place.member).name
        path.write_bytes(self.read(place))
        return path

    def _archive(self, path: pathlib.Path) -> archives.Archive:
        if path not in self._archives:
            self._archives[path] = self.enter_context(archives.open_archive(path))
        return self._archives[path]
