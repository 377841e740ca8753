"""Small copies of DISFA in its own layout, written here, are built by TFDS and read back, or refused."""

import os
import pathlib
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders.disfa import disfa_dataset_builder, labels, layout

cv2 = pytest.importorskip("cv2", reason="videos need the extra align")

UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
FRAMES = 12
# SN010 has a label fewer than frames, SN006 a frame fewer than labels; SN031 other names of landmarks.
LABELS = {"SN001": FRAMES, "SN010": FRAMES - 1, "SN006": FRAMES, "SN031": FRAMES}
VIDEOS = {"SN001": FRAMES, "SN010": FRAMES, "SN006": FRAMES - 1, "SN031": FRAMES}


def intensity(subject: str, unit: int, frame: int) -> int:
    return (int(subject[2:]) + unit * frame) % 6


def text(subject: str, unit: int, end: str = "\n") -> str:
    lines = [f"{frame},{intensity(subject, unit, frame)}" for frame in range(1, LABELS[subject] + 1)]
    return end.join(lines) + end


def write_video(path: pathlib.Path, count: int, colour: int = 2) -> None:
    """Writes noise of 64 x 48 pixels, in which one colour, red by default, is 15 n + 5 in frame n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for frame in range(1, count + 1):
        image = np.random.default_rng(frame).integers(0, 60, (48, 64, 3), np.uint8)
        image[..., colour] = 15 * frame + 5
        writer.write(image)
    writer.release()


def landmarks(frame: int) -> np.ndarray:
    return np.arange(132, dtype=float).reshape(66, 2) + frame


def write_copy(folder: pathlib.Path) -> pathlib.Path:
    for subject in LABELS:
        for unit in UNITS:
            path = folder / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text(subject, unit, "\r\n" if subject == "SN006" else "\n").encode())
        write_video(folder / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", VIDEOS[subject])
        suffix = "Comp" if subject == "SN001" else "comp"
        name = f"RightVideo{subject}_{suffix}.avi"
        write_video(folder / "Video_RightCamera" / name, VIDEOS[subject], colour=1)
    for subject in ("SN001", "SN031"):
        points = folder / "Landmark_Points" / "Landmark_Points" / subject / "tmp_frame_lm"
        points.mkdir(parents=True)
        for frame in range(1, FRAMES + 1):
            name = f"SN001_{frame - 1:04d}_lm.mat" if subject == "SN001" else f"l0{frame:04d}_lm.mat"
            if (subject, frame) != ("SN031", 5):
                scipy.io.savemat(points / name, {"pts": landmarks(frame)})
    return folder


def build(manual_dir, data_dir, name="disfa", **kwargs):
    builder = tfds.builder(name, data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder) -> dict[tuple[str, int], dict]:
    read = [e for split in builder.info.splits for e in tfds.as_numpy(builder.as_dataset(split=split))]
    found = {(example["subject"].decode(), int(example["frame"])): example for example in read}
    assert len(found) == len(read)
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> pathlib.Path:
    """A whole small copy, not to be changed."""
    return write_copy(tmp_path_factory.mktemp("disfa"))


@pytest.fixture
def changed(tmp_path) -> pathlib.Path:
    """One to be damaged."""
    return write_copy(tmp_path / "manual")


def test_frames_labels_and_landmarks_belong_together(copy, tmp_path, capsys):
    builder = build(copy, tmp_path)
    assert builder.info.full_name == "disfa/left/1.0.0"
    assert tuple(builder.info.metadata["action_units"]) == UNITS
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "part1": FRAMES + FRAMES - 1,
        "part2": FRAMES - 1 + FRAMES,
    }
    found = examples(builder)
    for (subject, frame), example in found.items():
        assert abs(example["image"][..., 0].mean() - (15 * frame + 5)) < 5
        assert example["image"].shape == (48, 64, 3)
        assert example["sequence"].decode() == subject
        units = example["action_units"]
        expected = [intensity(subject, unit, frame) for unit in UNITS]
        assert units["intensity"].tolist() == expected
        assert units["occurrence"].tolist() == [int(code >= 2) for code in expected]
        assert units["coded"].all()
        assert example["tracked"]
        if subject == "SN001" or (subject == "SN031" and frame != 5):
            np.testing.assert_array_equal(example["landmarks"], landmarks(frame))
        else:
            assert np.isnan(example["landmarks"]).all()
    output = capsys.readouterr().out
    assert "disfa/left part1, frames" in output
    assert "skipped 1 (frame without label, known): SN010_0012" in output
    assert "skipped 1 (label without frame, known): SN006_0012" in output
    assert "disfa/left part3: none of its subjects is there" in output
    row = next(line for line in output.splitlines() if line.startswith("SN001"))
    assert row.split() == ["SN001", "12", "4,845", "-4,833"]


def test_the_right_camera_and_zips_as_they_are_handed_out(copy, tmp_path):
    for name in ("ActionUnit_Labels", "Video_RightCamera"):
        (tmp_path / "manual").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "manual" / f"{name}.zip", "w") as archive:
            for path in sorted((copy / name).rglob("*.*")):
                archive.write(path, f"{name}/{path.relative_to(copy / name)}")
    builder = build(tmp_path / "manual", tmp_path / "data", "disfa/right")
    found = examples(builder)
    assert len(found) == 2 * FRAMES + 2 * FRAMES - 2
    for (_, frame), example in found.items():
        assert abs(example["image"][..., 1].mean() - (15 * frame + 5)) < 5
        assert np.isnan(example["landmarks"]).all()


def test_the_aligner_gets_the_frame_and_its_landmarks(copy, tmp_path, capsys):
    def aligner(image, points):
        if points is None:
            return None
        assert image.shape == (48, 64, 3)
        return np.full((256, 256, 3), points[0, 0], np.uint8)

    builder = build(copy, tmp_path, "disfa/left_aligned", aligner=aligner)
    found = examples(builder)
    assert {subject for subject, _ in found} == {"SN001", "SN031"}
    for (_, frame), example in found.items():
        assert example["image"].shape == (256, 256, 3)
        assert abs(example["image"].mean() - frame) < 2
    # In part2: SN006 has no landmarks, and SN031 none of one frame.
    assert f"skipped {FRAMES} (no face found, known): SN006_0001" in capsys.readouterr().out
    with pytest.raises(ValueError, match="stores aligned faces and needs an aligner"):
        build(copy, tmp_path / "other", "disfa/left_aligned")


def test_untracked_frames_are_those_that_published_lists_lack():
    subjects = [f"SN{number:03d}" for number in range(33)]
    lengths = {subject: sum(map(len, labels.untracked(subject))) for subject in subjects}
    assert {subject: length for subject, length in lengths.items() if length} == {
        "SN001": 77,
        "SN002": 27,
        "SN004": 15,
        "SN006": 57,
        "SN009": 108,
        "SN011": 21,
        "SN021": 3052,
        "SN023": 422,
        "SN025": 87,
        "SN027": 82,
        "SN028": 131,
        "SN029": 454,
        "SN030": 137,
    }
    assert [398 in frames for frames in labels.untracked("SN001")] == [True, False]
    assert not any(421 in frames or 397 in frames for frames in labels.untracked("SN001"))


def test_strict_refuses_what_is_no_full_copy(copy, tmp_path):
    with pytest.raises(ValueError, match=r"not the copy .* SN001: 12 read, 4,845 documented"):
        build(copy, tmp_path, strict=True)


def read(folder: pathlib.Path, subject: str = "SN001") -> list:
    """Returns the frames of one subject without TFDS, which takes seconds."""
    subjects, _ = layout.find(folder, "left")
    (found,) = (one for one in subjects if one.name == subject)
    return list(disfa_dataset_builder.read_subject(found, None, use_landmarks=True))


def test_a_truncated_video_is_refused_and_leaves_nothing_built(changed, tmp_path):
    video = changed / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi"
    os.truncate(video, video.stat().st_size // 2)
    with pytest.raises(
        ValueError, match=r"LeftVideoSN001_comp.avi: has fewer frames than labels: \d decoded"
    ):
        build(changed, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_a_video_that_is_too_long_is_refused(changed, tmp_path):
    write_video(changed / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi", FRAMES + 2)
    with pytest.raises(ValueError, match="has more frames than labels: 14 decoded, 12 labels"):
        read(changed)


def test_a_subject_without_video_is_counted_and_one_without_an_au_is_an_error(changed, tmp_path, capsys):
    (changed / "Videos_LeftCamera" / "LeftVideoSN010_comp.avi").unlink()
    builder = build(changed, tmp_path / "data")
    assert builder.info.splits["part1"].num_examples == FRAMES
    assert "skipped 1 (no left video): SN010" in capsys.readouterr().out
    (changed / "ActionUnit_Labels" / "SN001" / "SN001_au12.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no SN001_au12.txt in .*\nRequest DISFA at http"):
        layout.find(changed, "left")


def test_a_label_file_one_frame_short_leaves_that_frame_uncoded(changed):
    path = changed / "ActionUnit_Labels" / "SN001" / "SN001_au2.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    *_, frame = read(changed)
    last = frame.example
    assert last["action_units"]["coded"].tolist() == [unit != 2 for unit in UNITS]
    assert last["action_units"]["intensity"][1] == last["action_units"]["occurrence"][1] == 0
    assert frame.notes == ("an action unit is not coded",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3,6", r"SN001_au1.txt, line 3: expected frame,intensity with an intensity from 0 to 5; got '3,6'"),
        ("3,-1", r"line 3: expected frame,intensity .* got '3,-1'"),
        ("3 2", r"line 3: expected frame,intensity .* got '3 2'"),
        ("4,2", r"line 3: expected frame 3; got 4: lines are missing"),
    ],
)
def test_wrong_codes_and_lines_are_refused(line, message, changed):
    path = changed / "ActionUnit_Labels" / "SN001" / "SN001_au1.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(ValueError, match=message):
        read(changed)


def test_unreadable_landmarks_are_noted_and_left_out(changed):
    points = changed / "Landmark_Points" / "Landmark_Points" / "SN001" / "tmp_frame_lm"
    (points / "SN001_0000_lm.mat").write_bytes(b"no matlab")
    scipy.io.savemat(points / "SN001_0001_lm.mat", {"pts": np.zeros((65, 2))})
    first, second, third, *_ = read(changed)
    assert np.isnan(first.example["landmarks"]).all()
    assert np.isnan(second.example["landmarks"]).all()
    assert first.notes == second.notes == ("landmarks cannot be read",)
    np.testing.assert_array_equal(third.example["landmarks"], landmarks(3))


def test_a_landmark_file_more_than_frames_shifts_them_by_one(changed):
    points = changed / "Landmark_Points" / "Landmark_Points" / "SN001" / "tmp_frame_lm"
    for frame in range(FRAMES + 1):
        scipy.io.savemat(points / f"SN001_{frame:04d}_lm.mat", {"pts": landmarks(frame)})
    for number, frame in enumerate(read(changed), start=1):
        np.testing.assert_array_equal(frame.example["landmarks"], landmarks(number))


def test_other_sets_and_copies_twice_are_refused(tmp_path, changed):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no SN001_au1.txt .* lies nothing.\nRequest DISFA"):
        layout.find(tmp_path / "empty", "left")
    plus = tmp_path / "plus" / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU1.txt"
    plus.parent.mkdir(parents=True)
    plus.write_text("000.jpg 1\n")
    with pytest.raises(ValueError, match=r"holds DISFA\+"):
        layout.find(tmp_path / "plus", "left")
    twice = changed / "again" / "leftvideosn001_COMP.avi"
    twice.parent.mkdir()
    twice.write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"found twice: .*LeftVideoSN001_comp.avi and .*leftvideosn001_COMP.avi"
    ):
        layout.find(changed, "left")
    twice.rename(twice.with_name("LeftVideoSN033_comp.avi"))
    with pytest.raises(ValueError, match="SN033 is none of the 27 subjects"):
        layout.find(changed, "left")


def test_labels_without_videos_say_what_is_lacking(changed):
    for path in (changed / "Videos_LeftCamera").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no LeftVideoSN001_comp.avi .*ActionUnit_Labels/, Landmark"):
        layout.find(changed, "left")


def test_a_link_in_the_copy_is_refused(changed):
    (changed / "Videos_LeftCamera" / "x.avi").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="is a link or a device"):
        layout.find(changed, "left")


def test_probes_find_what_they_need(copy, tmp_path):
    from trainers import probe  # Here, since it takes long to import.

    faces = probe.load(build(copy, tmp_path))
    assert tuple(faces.action_units) == UNITS
    assert faces.coded.all()
    assert faces.occurrence.shape == (4 * FRAMES - 2, 12)
    assert len(faces.folds) == 2, "the parts of which the copy has subjects"


def test_tfds_finds_nothing_wrong(copy, tfds_checks):
    splits = {"part1": 2 * FRAMES - 1, "part2": 2 * FRAMES - 1}
    tfds_checks(disfa_dataset_builder.Builder, copy, splits)


def test_on_beam_the_same_examples_and_counts(copy, tmp_path, capsys):
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    builder = tfds.builder("disfa", data_dir=tmp_path / "beam")
    config = tfds.download.DownloadConfig(manual_dir=copy, beam_runner="DirectRunner")
    builder.download_and_prepare(download_config=config)
    on_beam = capsys.readouterr().out
    plain = build(copy, tmp_path / "plain")
    in_order = capsys.readouterr().out
    tables = [
        [line for line in out.splitlines() if line.startswith(("SN", "AU"))] for out in (on_beam, in_order)
    ]
    assert tables[0] == tables[1]
    assert "skipped 1 (frame without label, known)" in on_beam
    for (key, one), (_, other) in zip(
        sorted(examples(builder).items()), sorted(examples(plain).items()), strict=True
    ):
        np.testing.assert_array_equal(one["image"], other["image"], err_msg=str(key))
        np.testing.assert_array_equal(one["action_units"]["intensity"], other["action_units"]["intensity"])
