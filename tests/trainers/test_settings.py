"""Flags and presets, without training."""

import dataclasses

import pytest
from absl import flags
from absl.testing import flagsaver

from trainers import presets, pretrain, pretrain_flags, strategies


@pytest.fixture
def read():
    """`read("--flag=value", ...)`: the settings that the program would train."""
    if "preset" not in flags.FLAGS:
        pretrain_flags.define()
    with flagsaver.flagsaver():

        def parse(*given):
            flags.FLAGS.unparse_flags()
            flags.FLAGS(["pretrain", *given])
            return pretrain_flags.settings()

        yield parse


def test_paper_preset_is_section_iv_b(read):
    settings = dataclasses.asdict(read("--preset=paper"))
    expected = {
        "dataset": "affectnet/csv_7_aligned",
        "encoder": "resnet50",
        "image_size": 224,
        "center_crop": True,
        "batch_size": 256,
        "epochs": 200,
        "optimizer": "sgd",
        "base_learning_rate": 0.03,
        "sgd_momentum": 0.9,
        "weight_decay": 1e-4,
        "queue_size": 65536,
        "momentum": 0.999,
        "temperature": 0.2,
        "emotion_weight": 1.0,
        "contrastive_weight": 1.0,
        "dictionary": "per_class",
        "normalization": "intra_class",
        "prototype_norm": 0.0,
        "key_statistics": "batch",
        "projection_dim": 128,
        "hidden_dim": 2048,
        "crop_scale_min": 0.2,
    }
    assert {name: settings[name] for name in expected} == expected


def test_every_value_is_overridable(read):
    for field in dataclasses.fields(presets.Preset):
        value = {"str": "shared", "int": "7", "float": "0.5", "bool": "true"}[field.type.__name__]
        others = {"split": "test", "optimizer": "adamw", "encoder": "resnet18", "normalization": "l2"}
        others["key_statistics"] = "moving"
        value = {**others, "image_size": "48"}.get(field.name, value)
        settings = read("--preset=paper", f"--{field.name}={value}")
        assert str(getattr(settings, field.name)).lower() == value


@pytest.mark.parametrize(
    ("first", "last", "calls"),
    [
        (0, 8, [(0, 0, 2, 4)]),
        (0, 10, [(0, 0, 2, 4), (8, 2, 3, 2)]),
        (6, 11, [(6, 1, 2, 2), (8, 2, 3, 3)]),
        (0, 2, [(0, 0, 1, 2)]),
        (1, 3, [(1, 0, 1, 2)]),
        (8, 8, []),
    ],
)
def test_epochs_begin_where_they_begin_whatever_step_a_run_stopped_at(first, last, calls):
    assert list(pretrain.whole_and_part_epochs(first, last, steps_per_epoch=4)) == calls


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--contrastive_weight=0", "--queue_size=5"), "drops the branch that --queue_size is for"),
        (("--contrastive_weight=0", "--normalization=l2"), "drops the branch that --normalization is for"),
        (("--emotion_weight=0",), "add --normalization=l2"),
        (("--optimizer=adam",), "--optimizer must be one of .* got 'adam'"),
        (("--optimizer=adamw", "--sgd_momentum=0.5"), "--sgd_momentum means nothing to --optimizer=adamw"),
        (("--epochs=0",), "--epochs must be a positive integer; got 0"),
        (("--virtual_devices=-1",), "--virtual_devices must not be negative"),
    ],
)
def test_contradictions_are_refused(read, given, message):
    with pytest.raises(ValueError, match=message):
        read(*given)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({"name": "none", "virtual_devices": 2}, {}, "add --strategy=mirrored"),
        ({"name": "data_parallel"}, {}, "needs KERAS_BACKEND=jax and the backend is tensorflow"),
        (
            {"name": "mirrored"},
            {"TF_CONFIG": '{"cluster": {"worker": ["localhost:1", "localhost:2"]}}'},
            "TF_CONFIG names 2 workers",
        ),
    ],
)
def test_strategies_that_cannot_train_are_refused(arguments, environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        strategies.create(**arguments)
