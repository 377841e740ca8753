"""Folders and archives written here are walked and read back; links and damage are refused."""

import os
import pathlib
import zipfile

import pytest

from tfds_builders import archives, places


def write(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path: pathlib.Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_all_files_are_found_with_paths_to_search_and_read_back(tmp_path):
    write(tmp_path, {"a/x.txt": b"1", "a/b/y.txt": b"2", "z.txt": b"3", ".DS_Store": b"", "a/Thumbs.db": b""})
    write_zip(tmp_path / "sub" / "F001.zip", {"T1/1.jpg": b"4", "T1/2.jpg": b"5", "top": b"6"})
    found = list(places.walk(tmp_path))
    with places.Reader() as reader:
        read = {path: reader.read(place) for path, place in found}
        (folder,) = {place.parent for path, place in found if path.endswith(".jpg")}
        assert [place.member for place in reader.files(folder)] == ["T1/1.jpg", "T1/2.jpg"]
        assert [place.member for place in reader.files(folder.parent)] == ["top"]
        assert [place.path.name for place in reader.files(places.Place(tmp_path / "a"))] == [
            "Thumbs.db",
            "x.txt",
        ]
    assert read == {
        "a/b/y.txt": b"2",
        "a/x.txt": b"1",
        "sub/F001/T1/1.jpg": b"4",
        "sub/F001/T1/2.jpg": b"5",
        "sub/F001/top": b"6",
        "z.txt": b"3",
    }


def test_a_file_of_an_archive_is_unpacked_for_the_length_of_the_with_statement(tmp_path):
    write_zip(tmp_path / "f.zip", {"deep/video.avi": b"frames"})
    (_, place), *_ = places.walk(tmp_path)
    with places.Reader() as reader:
        path = reader.unpack(place)
        assert path.name == "video.avi"
        assert path.read_bytes() == b"frames"
    assert not path.exists()
    assert not path.parent.exists()


@pytest.mark.parametrize("target", ["outside", "outside/file"])
def test_links_are_refused(target, tmp_path):
    write(tmp_path / "outside", {"file": b"x"})
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "trap").symlink_to(tmp_path / target)
    with pytest.raises(archives.ArchiveError, match="trap: is a link or a device"):
        list(places.walk(tmp_path / "manual"))


def test_paths_that_lead_out_of_an_archive_and_damaged_archives_are_refused(tmp_path):
    write_zip(tmp_path / "evil.zip", {"../../evil.jpg": b""})
    write(tmp_path, {"cut.zip": b"PK", "good.txt": b""})
    unreadable = []
    assert [path for path, _ in places.walk(tmp_path, unreadable)] == ["good.txt"]
    assert ["truncated or damaged" in str(error) for error in unreadable] == [True, False]
    assert "leads out of its folder" in str(unreadable[1])
    with pytest.raises(archives.ArchiveError, match="truncated or damaged"):
        list(places.walk(tmp_path))


def test_files_too_large_or_gone_are_refused(tmp_path):
    write(tmp_path, {"large": b""})
    os.truncate(tmp_path / "large", archives.MAX_BYTES + 1)  # Sparse: takes no space.
    with places.Reader() as reader:
        with pytest.raises(archives.ArchiveError, match="more than 1,073,741,824 bytes"):
            reader.read(places.Place(tmp_path / "large"))
        with pytest.raises(archives.ArchiveError, match="gone: cannot be read"):
            reader.read(places.Place(tmp_path / "gone"))


def test_the_listing_is_short_and_says_what_to_unpack(tmp_path):
    assert places.listing(tmp_path) == "nothing"
    write(tmp_path, {f"{letter}/x": b"" for letter in "abcdefghij"} | {"b.rar": b""})
    assert (
        places.listing(tmp_path) == "a/, b.rar, b/, c/, d/, e/, f/, g/, ... (11 in all); unpack b.rar first"
    )
