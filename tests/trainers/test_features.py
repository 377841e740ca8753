"""Encoders that do not fit, and features that are computed once."""

import keras
import numpy as np
import pytest

import keras_emoco
from trainers import data, features, probe, workdir


def encoder(size=32, seed=0):
    keras.utils.set_random_seed(seed)
    images = keras.Input((size, size, 3))
    return keras_emoco.encoders.build(keras.Model(images, keras.layers.Conv2D(4, 8, strides=8)(images)))


@pytest.fixture(scope="module")
def units(manual_dir, tmp_path_factory):
    directory = tmp_path_factory.getbasetemp() / "tensorflow_datasets"
    builder = data.prepare("action_unit_folder/units", str(directory), str(manual_dir))
    return builder, probe.load(builder)


def test_features_are_computed_once(units, tmp_path, capfd):
    builder, faces = units
    model = encoder()
    x = features.cached(tmp_path, "abc", model, builder, faces, 32, False)
    np.testing.assert_array_equal(x, probe.features(model, faces.examples, 32, False))
    capfd.readouterr()
    again = features.cached(tmp_path, "abc", None, builder, faces, 32, False)
    np.testing.assert_array_equal(x, again)
    assert "features from" in capfd.readouterr().out
    assert len(list(tmp_path.iterdir())) == 1, "nothing half-written"
    # Another encoder, view or number of faces is another file.
    other = encoder(seed=1)
    changed = features.cached(tmp_path, "abd", other, builder, faces, 32, False)
    assert not np.array_equal(changed, x)
    features.cached(tmp_path, "abc", model, builder, faces, 32, True)
    few = features.cached(tmp_path, "abc", model, builder, probe.load(builder, 30), 32, False)
    assert len(few) == 30
    assert len(list(tmp_path.iterdir())) == 4


def test_features_of_a_bfloat16_encoder_are_read_back(units, tmp_path):
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 32, dtype="mixed_bfloat16")(images)
    model = keras.Model(images, keras.layers.Flatten(dtype="mixed_bfloat16")(x))
    computed = features.cached(tmp_path, "abc", model, *units, 32, False)
    again = features.cached(tmp_path, "abc", None, *units, 32, False)
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, computed)


def test_encoder_of_a_file(tmp_path):
    encoder().save(tmp_path / "encoder.keras")
    loaded, size = features.load_encoder(tmp_path / "encoder.keras")
    assert (loaded.output_shape, size) == ((None, 4), 32)
    with pytest.raises(ValueError, match="--image_size=64, but the encoder takes 32 pixels"):
        features.load_encoder(tmp_path / "encoder.keras", 64)
    encoder(size=None).save(tmp_path / "any.keras")
    assert features.load_encoder(tmp_path / "any.keras", 40)[1] == 40
    with pytest.raises(ValueError, match="choose one by --image_size"):
        features.load_encoder(tmp_path / "any.keras")


def test_what_is_no_encoder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"encoder.keras is not there"):
        features.load_encoder(tmp_path / "encoder.keras")
    (tmp_path / "model.weights.h5").write_text("")
    with pytest.raises(ValueError, match="a checkpoint of weights does not say which encoder"):
        features.load_encoder(tmp_path / "model.weights.h5")
    (tmp_path / "broken.keras").write_text("no zip")
    with pytest.raises(ValueError, match=r"broken\.keras does not load"):
        features.load_encoder(tmp_path / "broken.keras")
    keras_emoco.AUDetector(encoder()).save(tmp_path / "detector.keras")
    with pytest.raises(ValueError, match=r"holds a AUDetector, not an encoder: save its `.encoder`"):
        features.load_encoder(tmp_path / "detector.keras")
    images = keras.Input((32, 32, 3))
    keras.Model(images, keras.layers.Conv2D(4, 8)(images)).save(tmp_path / "map.keras")
    with pytest.raises(ValueError, match=r"build it with keras_emoco\.encoders.build"):
        features.load_encoder(tmp_path / "map.keras")


def test_work_directory_of_other_settings(tmp_path):
    workdir.open_workdir(tmp_path / "run", {"seed": 1, "epochs": 2})
    workdir.open_workdir(tmp_path / "run", {"seed": 1, "epochs": 2})
    with pytest.raises(ValueError, match=r"other settings \(epochs 2 -> 3\): give another"):
        workdir.open_workdir(tmp_path / "run", {"seed": 1, "epochs": 3})
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to --workdir"):
        workdir.open_workdir(tmp_path / "file" / "run", {})
