"""SyntheticFaces as TFDS builds it: a few real faces, written to disk and read back."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401, registers the builder.
from tfds_builders.synthetic_faces import synthetic_faces_dataset_builder
from tfds_builders.synthetic_faces.expressions import EXPRESSIONS
from tfds_builders.synthetic_faces.faces import sample_face
from tfds_builders.synthetic_faces.render import render

ROOT = pathlib.Path(__file__).parents[2]
AFFECTNET_ORDER = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]
ACTION_UNITS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 24, 25, 26]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    config = tfds.download.DownloadConfig(max_examples_per_split=45)
    data, info = tfds.load(
        "synthetic_faces",
        data_dir=tmp_path_factory.mktemp("data"),
        download_and_prepare_kwargs={"download_config": config},
        with_info=True,
    )
    return {split: list(data[split].as_numpy_iterator()) for split in data}, info


def test_features(built):
    splits, info = built
    example = splits["train"][0]
    assert set(splits) == {"train", "test"}
    assert {len(examples) for examples in splits.values()} == {45}
    assert set(example) == {"image", "emotion", "action_units", "subject", "landmarks"}
    assert (example["image"].shape, example["image"].dtype) == ((128, 128, 3), np.uint8)
    assert {key: (value.shape, value.dtype) for key, value in example["action_units"].items()} == {
        "intensity": ((16,), np.uint8),
        "occurrence": ((16,), np.uint8),
    }
    assert (example["landmarks"].shape, example["landmarks"].dtype) == ((5, 2), np.float32)
    assert info.features["emotion"].names == AFFECTNET_ORDER
    assert info.supervised_keys == ("image", "emotion")


def test_readers_find_the_action_units_in_the_metadata(built):
    _, info = built
    read = tfds.builder_from_directory(info.data_dir).info.metadata
    assert read["action_units"] == ACTION_UNITS
    assert read["landmarks"] == [
        "left_eye",
        "right_eye",
        "nose_tip",
        "left_mouth_corner",
        "right_mouth_corner",
    ]


def test_examples_are_the_sampled_faces(built):
    splits, _ = built
    by_subject = {}
    for example in splits["train"]:
        by_subject.setdefault(int(example["subject"]), []).append(example)
    assert sorted(by_subject) == [0, 1, 2]
    for index in range(20):
        face = sample_face(1, index)
        pixels = render(face).astype(float)
        # Shuffled by TFDS: the face is the stored picture that is nearest.
        stored = min(by_subject[1], key=lambda e: np.abs(e["image"] - pixels).mean())
        assert np.abs(stored["image"] - pixels).mean() < 6
        assert EXPRESSIONS[stored["emotion"]] == face.expression
        assert tuple(stored["action_units"]["intensity"]) == face.intensities


def test_occurrence_is_an_intensity_of_two_or_more(built):
    for examples in built[0].values():
        intensity = np.array([example["action_units"]["intensity"] for example in examples])
        occurrence = np.array([example["action_units"]["occurrence"] for example in examples])
        assert set(np.unique(intensity)) == {0, 1, 2, 3, 4, 5}
        np.testing.assert_array_equal(occurrence, np.isin(intensity, (2, 3, 4, 5)))


def test_splits_share_no_person(built):
    people = {split: {example["subject"] for example in examples} for split, examples in built[0].items()}
    assert not people["train"] & people["test"]


def test_landmarks_lie_in_the_picture_in_their_order(built):
    for examples in built[0].values():
        points = np.array([example["landmarks"] for example in examples])
        assert (points > 0).all()
        assert (points < 128).all()
        assert (points[:, 0, 0] < points[:, 1, 0]).all()
        assert (points[:, 3, 0] < points[:, 4, 0]).all()


def test_the_whole_of_both_splits_is_drawn_without_a_gap():
    builder = synthetic_faces_dataset_builder
    assert {"train": range(1000), "test": range(1000, 1200)} == builder.SUBJECTS
    assert builder.FACES_PER_SUBJECT == 20


@pytest.fixture
def few(monkeypatch):
    """Three people to train on and two to test on."""
    subjects = {"train": range(0, 3), "test": range(1000, 1002)}
    monkeypatch.setattr(synthetic_faces_dataset_builder, "SUBJECTS", subjects)


def test_tfds_finds_nothing_wrong(few, tmp_path, tfds_checks):
    tfds_checks(synthetic_faces_dataset_builder.Builder, tmp_path, {"train": 60, "test": 40})


def test_on_beam_the_same_faces(few, same_on_beam):
    printed = [line.split() for line in same_on_beam(None, "synthetic_faces")]
    assert ["total", "60", "20,000", "-19,940"] in printed
    assert ["total", "40", "4,000", "-3,960"] in printed


def test_the_command_line_builds_from_the_folder(tmp_path):
    # `tfds` itself also imports its other subcommands, with packages that building does not need.
    script = f"""
import simple_parsing
from tensorflow_datasets.scripts.cli import build
parser = simple_parsing.ArgumentParser()
parser.add_arguments(build.Args, dest="args")
options = ["tfds_builders/synthetic_faces", "--max_examples_per_split", "3", "--data_dir", {str(tmp_path)!r}]
parser.parse_args(options).args.execute()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    info = tfds.builder_from_directory(tmp_path / "synthetic_faces" / "2.0.0").info
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 3, "test": 3}
    assert "drawn faces" in info.description
