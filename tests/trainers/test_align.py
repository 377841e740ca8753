"""`python -m trainers.align` as a user runs it: on a mixed folder, killed and started again, on a video."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from keras_emoco import align
from tfds_builders.synthetic_faces.faces import sample_face
from tfds_builders.synthetic_faces.render import render
from trainers import align as program
from trainers import align_input
from trainers.align_journal import Journal
from trainers.align_worker import Item

pytest.importorskip("mtcnn", reason="needs the extra keras-emoco[align]")
ROOT = pathlib.Path(__file__).parents[2]


def command(source, output, *flags):
    return [sys.executable, "-m", "trainers.align", f"--input={source}", f"--output={output}", *flags]


def run(source, output, *flags):
    result = subprocess.run(command(source, output, *flags), cwd=ROOT, capture_output=True, text=True)
    return result.returncode, result.stdout, result.stderr


def align_all(source, output, **flags):
    """As the program, without the seconds that it takes to load TensorFlow once more."""
    defaults = {"faces": "largest", "size": 256, "every": 1, "workers": 1}
    program.align_all(source, output, **defaults | flags)


def rows(output):
    with open(output / "faces.csv", newline="") as file:
        return list(csv.DictReader(file))


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def faces():
    """Eight pictures of faces that MTCNN finds."""
    return [
        Image.fromarray(np.ascontiguousarray(render(sample_face(subject, 0))))
        for subject in range(9)
        if subject != 6
    ]


def two_faces(faces):
    canvas = Image.new("RGB", (400, 260), "gray")
    canvas.paste(faces[0].resize((100, 100)), (0, 0))
    canvas.paste(faces[1].resize((250, 250)), (150, 10))
    return canvas


@pytest.fixture(scope="module")
def mixed(faces, tmp_path_factory):
    """Nested folders of pictures of several formats, of which some cannot be aligned, and other files."""
    root = tmp_path_factory.mktemp("mixed")
    (root / "b" / "deep").mkdir(parents=True)
    faces[0].save(root / "one.jpg", quality=95)
    faces[1].save(root / "b" / "two.PNG")
    faces[2].convert("L").save(root / "b" / "deep" / "three.tif")
    turned = Image.Exif()
    turned[0x0112] = 6
    faces[3].transpose(Image.Transpose.ROTATE_90).save(root / "b" / "turned.jpg", exif=turned, quality=95)
    two_faces(faces).save(root / "pair.png")
    Image.effect_noise((300, 200), 80).save(root / "b" / "noise.png")
    (root / "b" / "broken.jpg").write_bytes(b"not a picture")
    (root / "notes.txt").write_text("not aligned")
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "b" / "loop").symlink_to(root, target_is_directory=True)
    return root


@pytest.fixture(scope="module")
def aligned(mixed, tmp_path_factory):
    output = tmp_path_factory.mktemp("aligned") / "new"
    status, printed, errors = run(mixed, output, "--workers=1")
    assert status == 0, errors
    return output, printed


def test_every_picture_has_a_row(aligned):
    found = {row["file"]: row for row in rows(aligned[0])}
    assert {name: row["status"] for name, row in found.items()} == {
        "b/broken.jpg": "unreadable",
        "b/deep/three.tif": "aligned",
        "b/noise.png": "no_face",
        "b/turned.jpg": "aligned",
        "b/two.PNG": "aligned",
        "gone.jpg": "unreadable",
        "one.jpg": "aligned",
        "pair.png": "aligned",
    }
    assert "broken.jpg: expected a picture" in found["b/broken.jpg"]["reason"]
    assert "No such file" in found["gone.jpg"]["reason"]
    assert "5 faces aligned; 1 pictures or frames without a face, 2 unreadable" in aligned[1]


def test_crops_keep_the_tree_and_can_be_made_again_from_the_table(mixed, aligned):
    output, _ = aligned
    expected = {"one.jpg", "b/two.PNG", "b/deep/three.tif.png", "b/turned.jpg", "pair.png"}
    kept = {"faces.csv", "journal.jsonl", "contact_sheet.png"}
    assert set(files(output)) == expected | kept
    for row in rows(output):
        if row["status"] != "aligned":
            continue
        points = np.array([[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in align.LANDMARKS])
        crop = align.crop(align.read_image(mixed / row["file"]), points).astype(int)
        written = align.read_image(output / row["output"])
        assert np.abs(crop - written).max() <= (0 if row["output"].lower().endswith("png") else 40)
        assert np.abs(crop - written).mean() < 2
    [pair] = [row for row in rows(output) if row["file"] == "pair.png"]
    assert float(pair["left"]) > 150  # the larger of the two faces


def test_a_finished_run_does_only_what_is_new_or_changed(mixed, aligned, faces):
    output, _ = aligned
    before, times = files(output), {p: p.stat().st_mtime_ns for p in output.rglob("*.jpg")}
    broken = (mixed / "b" / "broken.jpg").read_bytes()
    faces[4].save(mixed / "b" / "broken.jpg", quality=95)
    (mixed / "one.jpg").rename(mixed.parent / "one.jpg")
    try:
        align_all(mixed, output)
    finally:
        (mixed / "b" / "broken.jpg").write_bytes(broken)
        (mixed.parent / "one.jpg").rename(mixed / "one.jpg")
    after = files(output)
    assert after.keys() - before.keys() == {"b/broken.jpg"}
    assert before.keys() - after.keys() == {"one.jpg"}
    assert {row["file"]: row["status"] for row in rows(output)}["b/broken.jpg"] == "aligned"
    turned = output / "b" / "turned.jpg"
    assert turned.stat().st_mtime_ns == times[turned]


def children(pid):
    """Processes whose parent is `pid`."""
    found = set()
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.add(int(stat.parent.name))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_killed_run_ends_as_one_that_was_not(faces, tmp_path):
    source = tmp_path / "source"
    for folder in range(12):
        (source / str(folder)).mkdir(parents=True)
        for index, face in enumerate(faces):
            face.crop((0, 0, 128, 120 + index % 2 * 8)).save(source / str(folder) / f"{index}.jpg")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    align_all(source, whole, workers=2)
    process = subprocess.Popen(
        command(source, killed, "--workers=2"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    journal = killed / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.002)
    workers = children(process.pid)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "faces.csv").exists()
    assert journal.read_bytes().count(b"\n") < 7
    until = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{worker}") for worker in workers):
        assert time.monotonic() < until, "the workers outlive their parent"
        time.sleep(0.05)
    with open(journal, "ab") as file:
        file.write(b'[{"file": "0/0.jpg", "fra')  # as a kill in the middle of a line leaves it
    align_all(source, killed)
    assert len(rows(killed)) == 96
    first, second = files(whole), files(killed)
    assert sorted(first.pop("journal.jsonl").splitlines()) == sorted(second.pop("journal.jsonl").splitlines())
    assert first == second


def write_video(path, pictures):
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, pictures[0].size)
    for picture in pictures:
        writer.write(np.asarray(picture)[..., ::-1].copy())
    writer.release()


def test_video_frames_of_every_third_and_all_faces(faces, tmp_path):
    pytest.importorskip("cv2", reason="needs the extra keras-emoco[align]")
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    grey = Image.new("RGB", (400, 260), "gray")
    pair = two_faces(faces)
    write_video(source / "clip.avi", [pair, grey, grey, grey, pair, grey, pair])
    (source / "bad.mp4").write_bytes(b"no video")
    align_all(source, output, every=3, faces="all", size=128)
    assert [(r["file"], r["frame"], r["face"], r["status"], r["output"]) for r in rows(output)] == [
        ("bad.mp4", "", "", "unreadable", ""),
        ("clip.avi", "1", "0", "aligned", "clip.avi/000001/0.jpg"),
        ("clip.avi", "1", "1", "aligned", "clip.avi/000001/1.jpg"),
        ("clip.avi", "4", "", "no_face", ""),
        ("clip.avi", "7", "0", "aligned", "clip.avi/000007/0.jpg"),
        ("clip.avi", "7", "1", "aligned", "clip.avi/000007/1.jpg"),
    ]
    assert Image.open(output / "clip.avi" / "000001" / "0.jpg").size == (128, 128)
    # The last frame is lost, as when a run is killed: only it is done again, and the table ends the same.
    before = files(output)
    lines = (output / "journal.jsonl").read_bytes().splitlines(keepends=True)
    entries = [[e for e in json.loads(line) if e["frame"] != 7] for line in lines[1:]]
    (output / "journal.jsonl").write_bytes(
        lines[0] + b"".join(json.dumps(e).encode() + b"\n" for e in entries)
    )
    kept = (output / "clip.avi" / "000001" / "0.jpg").stat().st_mtime_ns
    align_all(source, output, every=3, faces="all", size=128)
    assert (output / "clip.avi" / "000001" / "0.jpg").stat().st_mtime_ns == kept
    assert {k: v for k, v in files(output).items() if k != "journal.jsonl"} == {
        k: v for k, v in before.items() if k != "journal.jsonl"
    }


def test_bad_flags_are_explained(tmp_path):
    status, _, errors = run(tmp_path / "absent", tmp_path / "output")
    assert status == 1
    assert errors.splitlines()[-1] == f"error: --input={tmp_path / 'absent'} does not exist"
    assert not (tmp_path / "output").exists()


# Pieces, in this process.


def test_listing_is_sorted_and_follows_links_but_no_loops(tmp_path, touch):
    touch(tmp_path, "in/b/2.jpg", "in/a/1.JPEG", "in/a/clip.mp4", "in/x.csv", "elsewhere/3.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    items = align_input.list_input(tmp_path / "in", tmp_path / "out")
    assert [item.file for item in items] == ["a/1.JPEG", "a/clip.mp4", "b/2.jpg", "linked/3.png"]


def test_a_single_picture_is_an_input(tmp_path, touch):
    touch(tmp_path, "in/1.jpg")
    [item] = align_input.list_input(tmp_path / "in" / "1.jpg", tmp_path / "in" / "out")
    assert item.file == "1.jpg"
    with pytest.raises(ValueError, match="holds the input"):
        align_input.list_input(tmp_path / "in" / "1.jpg", tmp_path / "in")


@pytest.mark.parametrize("output", ["in", "in/out", "in/a", "."])
def test_output_and_input_keep_apart(tmp_path, output, touch):
    touch(tmp_path, "in/a/1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for source in ("in", "link"):
        with pytest.raises(ValueError, match="lie in each other"):
            align_input.list_input(tmp_path / source, (tmp_path / output).resolve())


def test_two_pictures_do_not_share_an_output(tmp_path, touch):
    touch(tmp_path, "in/1.tif", "in/1.tif.png")
    with pytest.raises(ValueError, match=r"1\.tif.* would both be written to 1\.tif\.png"):
        align_input.list_input(tmp_path / "in", tmp_path / "out")
    touch(tmp_path, "other/contact_sheet.png")
    with pytest.raises(ValueError, match="the contact sheet"):
        align_input.list_input(tmp_path / "other", tmp_path / "out")


def test_nothing_to_align_is_an_error(tmp_path, touch):
    touch(tmp_path, "in/1.txt")
    with pytest.raises(ValueError, match=r"no picture or video .*\.jpg"):
        align_input.list_input(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "frame", "every_face", "expected"),
    [
        ("a/b.JPG", None, False, "a/b.JPG"),
        ("a/b.bmp", None, False, "a/b.bmp.png"),
        ("a/b.JPG", None, True, "a/b.JPG/2.JPG"),
        ("a/b.bmp", None, True, "a/b.bmp/2.png"),
        ("a/b.mp4", 37, False, "a/b.mp4/000037.jpg"),
        ("a/b.mp4", 37, True, "a/b.mp4/000037/2.jpg"),
    ],
)
def test_outputs(file, frame, every_face, expected):
    assert Item(file, frame, [0, 0], "").output(2, every_face) == expected


def entry(file, output, stamp):
    face = {"confidence": 0.9, "box": [0.0] * 4, "landmarks": [[0.0, 0.0]] * 5, "output": output}
    status = {"status": "aligned", "reason": ""}
    return {"file": file, "frame": None, "stamp": stamp, **status, "faces": [face]}


def test_journal_drops_what_has_changed(tmp_path, touch):
    journal = Journal(tmp_path / "out", {"size": 256}, {})
    touch(tmp_path / "out", "same.jpg", "changed.jpg", "gone.jpg")
    for name in ("same", "changed", "gone", "deleted"):
        journal.add([entry(f"{name}.jpg", f"{name}.jpg", [1, 1])])
    del journal
    stamps = {"same.jpg": [1, 1], "changed.jpg": [1, 2], "deleted.jpg": [1, 1]}
    journal = Journal(tmp_path / "out", {"size": 256}, stamps)
    assert list(journal.entries) == [("same.jpg", None)]
    assert set(files(tmp_path / "out")) == {"same.jpg", "journal.jsonl"}


def test_journal_refuses_other_settings_other_files_and_a_second_run(tmp_path, touch):
    journal = Journal(tmp_path / "out", {"size": 256}, {})
    with pytest.raises(BlockingIOError, match="another run"):
        Journal(tmp_path / "out", {"size": 256}, {})
    del journal
    with pytest.raises(ValueError, match="size=256, now 128"):
        Journal(tmp_path / "out", {"size": 128}, {})
    touch(tmp_path / "full", "mine.txt")
    with pytest.raises(ValueError, match="empty or a new directory"):
        Journal(tmp_path / "full", {"size": 256}, {})


def test_journal_deletes_nothing_outside_its_directory(tmp_path, touch):
    # Outputs of inputs that have changed are deleted, and a journal is a file that anyone may have written.
    touch(tmp_path, "mine.jpg", "out/0.jpg")
    journal = tmp_path / "out" / "journal.jsonl"
    lines = [{"size": 256}, [entry("0.jpg", "../mine.jpg", [1, 1])]]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=r"journal\.jsonl: the path '\.\./mine\.jpg' leads out"):
        Journal(tmp_path / "out", {"size": 256}, {})
    assert (tmp_path / "mine.jpg").exists()
