"""Archives made here by the standard library's writers are read back, or refused with a clear message."""

import io
import os
import pathlib
import random
import tarfile
import zipfile

import pytest
from PIL import Image

from tfds_builders import archives

FILES = {"b/two.txt": b"two", "a.txt": b"one", "b/c/three.bin": bytes(range(256))}
CLUTTER = {"__MACOSX/b/._two.txt": b"x", ".DS_Store": b"x", "b/Thumbs.db": b"x", "b/._two.txt": b"x"}


def write_folder(path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("b")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


WRITERS = {
    "f": write_folder,
    "f.zip": write_zip,
    "f.tar": write_tar,
    "f.tar.gz": write_tar,
    "f.tgz": write_tar,
}


def refused(path: pathlib.Path) -> str:
    with pytest.raises(archives.ArchiveError) as error, archives.open_archive(path):
        pass
    return str(error.value)


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_lists_sorted_names_and_returns_the_bytes(name, tmp_path):
    path = WRITERS[name](tmp_path / name, FILES | CLUTTER)
    with archives.open_archive(path) as archive:
        assert archive.names == ("a.txt", "b/c/three.bin", "b/two.txt")
        assert {name: archive.read(name) for name in reversed(archive.names)} == FILES
        assert archive.read("b/c/three.bin", 5) == bytes(range(5))


def test_names_that_begin_with_dot_slash_are_plain_names(tmp_path):
    with archives.open_archive(write_tar(tmp_path / "f.tar", {"./b/x": b"x"})) as archive:
        assert archive.names == ("b/x",)


def test_other_kinds_of_files_are_refused(tmp_path):
    (tmp_path / "f.rar").write_bytes(b"Rar!")
    assert "expected a folder, .zip" in refused(tmp_path / "f.rar")


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "\\evil"])
@pytest.mark.parametrize("kind", ["f.zip", "f.tar.gz"])
def test_paths_out_of_the_archive_are_refused(name, kind, tmp_path):
    message = refused(WRITERS[kind](tmp_path / kind, {"fine": b"", name: b""}))
    assert "leads out of its folder" in message
    assert repr(name) in message


def test_dots_inside_a_name_are_no_climbing(tmp_path):
    with archives.open_archive(write_zip(tmp_path / "f.zip", {"a..b/c...jpg": b""})) as archive:
        assert archive.names == ("a..b/c...jpg",)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind, tmp_path):
    with tarfile.open(tmp_path / "f.tar", "w") as archive:
        info = tarfile.TarInfo("trap")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert "'trap' is a link or a device" in refused(tmp_path / "f.tar")


def test_symbolic_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        info = zipfile.ZipInfo("trap")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert "'trap' is a link or a device" in refused(tmp_path / "f.zip")


@pytest.mark.parametrize("target", ["outside", "outside/file"])
def test_symbolic_links_in_a_folder_are_refused_but_the_folder_may_be_one(target, tmp_path):
    write_folder(tmp_path / "outside", {"file": b"x"})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "trap").symlink_to(tmp_path / target)
    assert "'trap' is a link or a device" in refused(tmp_path / "folder")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with archives.open_archive(tmp_path / "link") as archive:
        assert archive.read("file") == b"x"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["f.zip", "f.tar"])
def test_a_name_twice_is_refused(kind, tmp_path):
    if kind == "f.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            archive.writestr("x", "1")
            archive.writestr("./x", "2")
    else:
        write_tar(tmp_path / kind, {"x": b"1", "./x": b"2"})
    assert "holds 'x' twice" in refused(tmp_path / kind)


def test_decompression_bombs_are_refused_and_large_honest_files_are_not(tmp_path):
    honest = random.Random(0).randbytes(archives.ANY_RATIO_BYTES + 1)
    bomb = bytes(archives.ANY_RATIO_BYTES + 1)
    with archives.open_archive(write_zip(tmp_path / "f.zip", {"bomb": bomb, "honest": honest})) as archive:
        assert archive.read("honest") == honest
        with pytest.raises(archives.ArchiveError, match=r"'bomb' unpacks from .* to 16,777,217 bytes"):
            archive.read("bomb")
    assert "more than 200 times its size" in refused(write_tar(tmp_path / "f.tar.gz", {"bomb": bomb}))
    with archives.open_archive(write_tar(tmp_path / "g.tgz", {"honest": honest})) as archive:
        assert archive.read("honest") == honest


def test_files_beyond_the_size_limit_are_refused(tmp_path):
    write_folder(tmp_path / "f", {"large": b""})
    os.truncate(tmp_path / "f" / "large", archives.MAX_BYTES + 1)  # Sparse: takes no space.
    with (
        archives.open_archive(tmp_path / "f") as archive,
        pytest.raises(archives.ArchiveError, match="at most"),
    ):
        archive.read("large")


@pytest.mark.parametrize("kind", ["f.zip", "f.tar", "f.tar.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_truncated_archives_are_refused(kind, kept, tmp_path):
    path = WRITERS[kind](tmp_path / kind, {"noise": random.Random(0).randbytes(100_000)})
    os.truncate(path, int(kept * path.stat().st_size))
    message = refused(path)
    assert str(path) in message
    assert "truncated or damaged" in message


def test_damage_inside_a_zip_names_the_file(tmp_path):
    path = write_zip(tmp_path / "f.zip", {"noise": random.Random(0).randbytes(1000)})
    data = bytearray(path.read_bytes())
    data[500] ^= 255
    path.write_bytes(data)
    with (
        archives.open_archive(path) as archive,
        pytest.raises(archives.ArchiveError, match="'noise' cannot be read"),
    ):
        archive.read("noise")


def test_an_encrypted_zip_says_so(tmp_path):
    path = write_zip(tmp_path / "f.zip", {"secret": b"secret"})
    data = bytearray(path.read_bytes())
    # Bit 0 of the flags says encrypted: at byte 6 of the file's local header and 8 of its central one.
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(signature) + offset] |= 1
    path.write_bytes(data)
    with archives.open_archive(path) as archive, pytest.raises(archives.ArchiveError, match="encrypted"):
        archive.read("secret")


def encode(size: tuple[int, int], kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 64).save(buffer, kind)
    return buffer.getvalue()


def test_images_come_back_as_their_own_bytes_and_broken_ones_are_named(tmp_path):
    jpeg, png = encode((31, 17), "JPEG"), encode((8, 9), "PNG")
    broken = {
        "cut.jpg": jpeg[:-200],
        "cut.png": png[:-40],
        "text.jpg": b"no image",
        "gif.jpg": encode((8, 8), "GIF"),
    }
    write_folder(tmp_path / "f", {"good.jpg": jpeg, "good.png": png, **broken})
    with archives.open_archive(tmp_path / "f") as archive:
        assert archive.read_image("good.jpg") == (jpeg, (31, 17))
        assert archive.read_image("good.png") == (png, (8, 9))
        for name in broken:
            with pytest.raises(archives.ArchiveError, match=f"'{name}' does not decode"):
                archive.read_image(name)


def test_other_formats_become_png_and_the_suffix_does_not_matter(tmp_path):
    kinds = {
        "a.tif": "TIFF",
        "b.bmp": "BMP",
        "c.jpg": "GIF",
        "d.png": "WEBP",
        "e.tif": "JPEG",
        "f.jpg": "PNG",
    }
    sources = {name: encode((8, 9), kind) for name, kind in kinds.items()}
    write_folder(tmp_path / "f", sources)
    with archives.open_archive(tmp_path / "f") as archive:
        for name, kind in kinds.items():
            data, found = archive.read_any_image(name)
            assert found == kind
            if kind in ("JPEG", "PNG"):
                assert data == sources[name]
                continue
            converted = Image.open(io.BytesIO(data))
            assert converted.format == "PNG"
            expected = Image.open(io.BytesIO(sources[name])).convert("RGB")
            assert converted.tobytes() == expected.tobytes()


def test_an_image_of_too_many_pixels_is_no_damaged_image_but_refused(tmp_path, monkeypatch):
    write_folder(tmp_path / "f", {"bomb.png": encode((30, 30), "PNG")})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with archives.open_archive(tmp_path / "f") as archive:
        for read in (archive.read_image, archive.read_any_image):
            with pytest.raises(
                archives.ArchiveError, match=r"'bomb.png' is refused .*decompression bomb"
            ) as e:
                read("bomb.png")
            assert not isinstance(e.value, archives.ImageError)


@pytest.mark.parametrize("name", WRITERS)
def test_text_is_read_by_the_line_without_its_byte_order_mark(name, tmp_path):
    path = WRITERS[name](tmp_path / name, {"t.csv": "\ufeffa,b\r\n1,ä\n".encode(), "b.csv": b"x\n\xff\xfe\n"})
    with archives.open_archive(path) as archive:
        with archive.open_text("t.csv") as text:
            assert list(text) == ["a,b\r\n", "1,ä\n"]
        with (
            pytest.raises(archives.ArchiveError, match=r"'b.csv' cannot be read"),
            archive.open_text("b.csv") as t,
        ):
            list(t)


def test_search_looks_into_the_folder_and_the_archives_directly_in_it(tmp_path):
    write_folder(tmp_path, {"deep/er/mark": b"", "deep/unseen.zip": b""})
    write_zip(tmp_path / "b.zip", {"mark": b""})
    write_zip(tmp_path / "a.zip", {"mark": b"", "other": b""})
    write_tar(tmp_path / "c.tar", {"mark": b""})
    (tmp_path / "broken.zip").write_bytes(b"PK")

    def marks(archive: archives.Archive) -> list[str]:
        return [f"{archive.path.name}: {name}" for name in archive.names if name.endswith("mark")]

    found, unreadable = archives.search(tmp_path, ("*.zip",), marks)
    assert found == [f"{tmp_path.name}: deep/er/mark", "a.zip: mark", "b.zip: mark"]
    assert [str(tmp_path / "broken.zip") in str(error) for error in unreadable] == [True]
