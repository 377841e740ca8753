"""Reads the files in users' folders, zip and tar archives in place, and refuses what no data archive holds.

Not for writing or unpacking archives, and knows nothing of what the files mean.
"""

import contextlib
import dataclasses
import fnmatch
import gzip
import io
import lzma
import os
import pathlib
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TextIO, TypeVar

from PIL import Image

# Limits against decompression bombs. The largest honest file known is FER2013's CSV: 0.3 GB, packed 3:1.
# Deflate can reach 1032:1; files of up to ANY_RATIO_BYTES may, since they do no harm.
MAX_BYTES = 1 << 30
MAX_RATIO = 200
ANY_RATIO_BYTES = 1 << 24

# What readers of damaged archives raise; RuntimeError is how zipfile says "encrypted" or "unknown method".
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
# And what its directory of names raises, when bytes of it are wrong; a caller of `open_text` raises them too.
_DAMAGED_DIRECTORY = (*_DAMAGE, IndexError, ValueError, struct.error)

T = TypeVar("T")


# What TensorFlow decodes everywhere, and what else turns up in data sets.
STORED_FORMATS = ("JPEG", "PNG")
OTHER_FORMATS = ("BMP", "GIF", "TIFF", "WEBP")


class ArchiveError(ValueError):
    """A folder or archive that cannot be read, or that holds what is refused."""


class ImageError(ArchiveError):
    """A file that is no intact image, of which some data sets have known ones."""


def safe_name(name: str, where: str) -> str:
    """Returns `name` with forward slashes and without `./`; `where` tells the user who named it.

    Raises:
      ArchiveError: for an absolute path, a drive letter, or a path that climbs with `..`.
    """
    path = pathlib.PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or re.match("[A-Za-z]:", name) or ".." in path.parts:
        raise ArchiveError(
            f"{where}: the path {name!r} leads out of its folder; expected a relative path without '..': "
            "correct the name, or pack the data again from inside their folder."
        )
    return str(path)


# Small, and with what opens it shared, because data sets of a million files exist.
@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    name: str
    is_regular: bool
    size: int
    packed_size: int
    open: Callable[[Any], BinaryIO]
    key: Any  # what `open` takes


class Archive:
    """The files of one folder or archive; `open_archive` makes it.

    Attributes:
      path: The folder or archive.
      names: Names of the files, sorted, with forward slashes, relative to `path`. Left out is what operating
        systems add by themselves: names that begin with a dot, `__MACOSX/`, `Thumbs.db`.
    """

    def __init__(self, path: pathlib.Path, files: Iterable[_File]):
        self.path = path
        self._files: dict[str, _File] = {}
        for file in files:
            name = safe_name(file.name, str(path))
            name = file.name if name == file.name else name  # One string of the two is enough.
            if any(p.startswith(".") or p in ("__MACOSX", "Thumbs.db") for p in name.split("/")):
                continue
            if not file.is_regular:
                raise ArchiveError(
                    f"{path}: {name!r} is a link or a device, which is refused: put the file itself there."
                )
            if name in self._files:
                raise ArchiveError(f"{path}: holds {name!r} twice: pack it again.")
            self._files[name] = file
        self.names: tuple[str, ...] = tuple(sorted(self._files))

    def read(self, name: str, first: int = -1) -> bytes:
        """Returns the bytes of the file `name`, or its `first` bytes.

        Raises:
          ArchiveError: if the file is damaged, encrypted, or unpacks to more than the limits of this module.
        """
        file = self._checked(name)
        try:
            with file.open(file.key) as stream:
                return stream.read(first)
        except _DAMAGED_DIRECTORY as error:
            raise self._unreadable(name, error) from error

    def read_image(self, name: str) -> tuple[bytes, tuple[int, int]]:
        """Returns the bytes of a JPEG or PNG file and its (width, height) in pixels.

        Raises:
          ArchiveError: as `read`, and for an image of so many pixels that it must be a bomb.
          ImageError: if the image does not decode from its first to its last row.
        """
        data = self.read(name)
        return data, self._decoded(name, data, STORED_FORMATS).size

    def read_any_image(self, name: str) -> tuple[bytes, str]:
        """Returns an image as JPEG or PNG, and its format; BMP, GIF, TIFF and WebP are converted to PNG.

        The suffix of the name does not matter: in the sets that mix formats it is often wrong.

        Raises:
          ArchiveError, ImageError: as `read_image`.
        """
        data = self.read(name)
        image = self._decoded(name, data, STORED_FORMATS + OTHER_FORMATS)
        if image.format in OTHER_FORMATS:
            png = io.BytesIO()
            image.convert("RGB").save(png, "PNG")
            data = png.getvalue()
        return data, image.format

    @contextlib.contextmanager
    def open_text(self, name: str) -> Iterator[TextIO]:
        """Opens a text file in UTF-8, which may be larger than memory, for the length of a `with` statement.

        Raises:
          ArchiveError: as `read`, also while lines are read.
        """
        file = self._checked(name)
        try:
            with (
                file.open(file.key) as stream,
                io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
            ):
                yield text
        except (*_DAMAGE, UnicodeDecodeError) as error:
            raise self._unreadable(name, error) from error

    def _checked(self, name: str) -> _File:
        file = self._files[name]
        if file.size > MAX_BYTES or file.size > max(ANY_RATIO_BYTES, MAX_RATIO * file.packed_size):
            raise ArchiveError(
                f"{self.path}: {name!r} unpacks from {file.packed_size:,} to {file.size:,} bytes; at most "
                f"{MAX_BYTES:,} bytes and {MAX_RATIO} times the packed size are read: "
                "get the archive from its original source."
            )
        return file

    def _unreadable(self, name: str, error: Exception) -> ArchiveError:
        return ArchiveError(
            f"{self.path}: {name!r} cannot be read ({error}); it is truncated, damaged or encrypted: "
            "get the archive again, or unpack it and use the folder."
        )

    def _decoded(self, name: str, data: bytes, formats: tuple[str, ...]) -> Image.Image:
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
            image.load()
        except Image.DecompressionBombError as error:
            raise ArchiveError(
                f"{self.path}: {name!r} is refused ({error}): get the image from its original source."
            ) from error
        except Exception as error:  # Decoders raise many kinds of errors; the remedy is the same.
            raise ImageError(
                f"{self.path}: {name!r} does not decode as a {' or '.join(formats)} image "
                f"({error}): replace it by an intact copy, or convert it to one of these formats."
            ) from error
        return image


@contextlib.contextmanager
def open_archive(path: str | os.PathLike) -> Iterator[Archive]:
    """Opens a folder, a `.zip`, a `.tar`, a `.tar.gz` or a `.tgz` for the length of a `with` statement.

    Raises:
      ArchiveError: if it is none of these, is truncated or damaged, or holds a link, a device, a name twice,
        or a path that leads out of it.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        list_files = _folder_files
    elif path.name.endswith(".zip"):
        list_files = _zip_files
    elif path.name.endswith((".tar", ".tar.gz", ".tgz")):
        list_files = _tar_files
    else:
        raise ArchiveError(f"{path}: expected a folder, .zip, .tar, .tar.gz or .tgz.")
    with contextlib.ExitStack() as stack:
        try:
            archive = Archive(path, list_files(path, stack))
        except ArchiveError:
            raise
        except _DAMAGED_DIRECTORY as error:
            raise ArchiveError(
                f"{path}: cannot be read ({error}); it is truncated or damaged: get it again."
            ) from error
        yield archive


def _folder_files(path: pathlib.Path, stack: contextlib.ExitStack) -> Iterator[_File]:
    def open_file(name: str) -> BinaryIO:
        return open(path / name, "rb")

    for folder, subfolders, names in os.walk(path):
        prefix = (
            "" if pathlib.Path(folder) == path else f"{pathlib.Path(folder).relative_to(path).as_posix()}/"
        )
        for name in names + [s for s in subfolders if os.path.islink(os.path.join(folder, s))]:
            status = os.lstat(os.path.join(folder, name))
            is_regular, size = stat.S_ISREG(status.st_mode), status.st_size
            name = prefix + name
            yield _File(name, is_regular, size, size, open_file, name)


def _zip_files(path: pathlib.Path, stack: contextlib.ExitStack) -> Iterator[_File]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    for info in archive.infolist():
        if not info.is_dir():
            is_regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)  # 0: not packed on Unix.
            yield _File(info.filename, is_regular, info.file_size, info.compress_size, archive.open, info)


def _tar_files(path: pathlib.Path, stack: contextlib.ExitStack) -> Iterator[_File]:
    stream = stack.enter_context(path.open("rb"))
    if not path.name.endswith(".tar"):
        # A gzip stream cannot be read out of order, so it is unpacked once, to a file without a name.
        packed = stream
        stream = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, the stack closes it.
        with gzip.open(packed) as unpacked:
            while block := unpacked.read(1 << 20):
                stream.write(block)
                if stream.tell() > max(ANY_RATIO_BYTES, MAX_RATIO * path.stat().st_size):
                    raise ArchiveError(
                        f"{path}: unpacks to more than {MAX_RATIO} times its size, which is refused: "
                        "get the archive from its original source."
                    )
        stream.seek(0)
    archive = stack.enter_context(tarfile.TarFile(fileobj=stream))
    for info in archive:
        if not info.isdir():
            yield _File(info.name, info.isfile(), info.size, info.size, archive.extractfile, info)


def search(
    folder: pathlib.Path, patterns: tuple[str, ...], inspect: Callable[[Archive], list[T]]
) -> tuple[list[T], list[ArchiveError]]:
    """Looks for a data set in `folder` and in the archives that lie directly in it.

    Args:
      folder: The manual directory.
      patterns: Shell patterns of the archives' names.
      inspect: Returns what it recognises in an open archive.

    Returns:
      All that was recognised, the folder's first, then by archive name; and the errors of what could not be
      read, which matter only if the data set was not found elsewhere.
    """
    archives = [
        p for p in sorted(folder.iterdir()) if any(fnmatch.fnmatch(p.name, glob) for glob in patterns)
    ]
    found, unreadable = [], []
    for path in [folder, *(p for p in archives if p.is_file())]:
        try:
            with open_archive(path) as archive:
                found += inspect(archive)
        except ArchiveError as error:
            unreadable.append(error)
    return found, unreadable
