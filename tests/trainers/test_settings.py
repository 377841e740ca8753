"""Flags and presets, without training."""

import dataclasses

import pytest
from absl import flags
from absl.testing import flagsaver

from trainers import presets, pretrain, strategies


@pytest.fixture
def read():
    """`read("--flag=value", ...)`: the settings that the program would train."""
    if "preset" not in flags.FLAGS:
        pretrain.define_flags()
    with flagsaver.flagsaver():

        def parse(*given):
            flags.FLAGS.unparse_flags()
            flags.FLAGS(["pretrain", *given])
            return pretrain.read_settings()

        yield parse


def test_paper_preset_is_section_iv_b(read):
    settings = dataclasses.asdict(read("--preset=paper"))
    expected = {
        "dataset": "affectnet",
        "encoder": "resnet50",
        "image_size": 224,
        "center_crop": True,
        "batch_size": 256,
        "epochs": 200,
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
        "projection_dim": 128,
        "hidden_dim": 2048,
        "crop_scale_min": 0.2,
    }
    assert {name: settings[name] for name in expected} == expected


def test_every_value_is_overridable(read):
    for field in dataclasses.fields(presets.Preset):
        value = {"str": "shared", "int": "7", "float": "0.5", "bool": "true"}[field.type.__name__]
        if field.name == "split":
            value = "test"
        assert str(getattr(read(f"--{field.name}={value}"), field.name)).lower() == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--contrastive_weight=0", "--queue_size=5"), "drops the branch that --queue_size is for"),
        (("--contrastive_weight=0", "--normalization=l2"), "drops the branch that --normalization is for"),
        (("--emotion_weight=0",), "add --normalization=l2"),
        (("--epochs=0",), "--epochs must be positive; got 0"),
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
