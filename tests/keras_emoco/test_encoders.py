"""Encoders: the torchvision topology, counted, and what is refused."""

import keras
import numpy as np
import pytest

from keras_emoco import encoders

# Parameters of torchvision.models.resnetNN without its 1000-way classifier:
# 11,689,512 - 513,000, 21,797,672 - 513,000, 25,557,032 - 2,049,000, 44,549,160 - 2,049,000.
PARAMETERS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032, "resnet101": 42_500_160}


@pytest.mark.parametrize("name", PARAMETERS)
def test_resnet_has_torchvisions_parameters(name):
    encoder = encoders.build(name, image_size=64)
    assert sum(int(np.prod(v.shape)) for v in encoder.trainable_variables) == PARAMETERS[name]
    assert encoder.output_shape == (None, 512 if name in ("resnet18", "resnet34") else 2048)


def test_resnet50_strides_in_the_3x3_and_normalizes_as_torchvision():
    encoder = encoders.build("resnet50", image_size=64)
    strided = {
        layer.kernel_size
        for layer in encoder.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2) and "_0_" not in layer.name
    }
    assert strided == {(7, 7), (3, 3)}
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize("size", [63, 94, 95, 128, 224])
def test_alexnet_is_torchvisions(size):
    torch, peers = pytest.importorskip("torch"), pytest.importorskip("trainers.benchmark.peers")
    torch.manual_seed(0)
    theirs = peers.torchvision().models.alexnet().eval()
    ours = encoders.build("alexnet", image_size=size)
    weights = []
    for name, tensor in list(theirs.state_dict().items())[:14]:  # the last two are the classifier's
        if tensor.ndim == 4:
            tensor = tensor.permute(2, 3, 1, 0)
        elif name == "classifier.1.weight":  # it reads channels first
            tensor = tensor.reshape(4096, 256, 6, 6).permute(2, 3, 1, 0).reshape(-1, 4096)
        elif tensor.ndim == 2:
            tensor = tensor.T
        weights.append(tensor.numpy())
    ours.set_weights(weights)
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    x = theirs.avgpool(theirs.features(torch.tensor(images).permute(0, 3, 1, 2))).flatten(1)
    expected = theirs.classifier[:6](x).detach().numpy()
    assert expected.std() > 0.005
    np.testing.assert_allclose(ours.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-6)


def test_backbones_of_the_user_get_pooling():
    images = keras.Input((32, 32, 3))
    backbone = keras.Model(images, keras.layers.Conv2D(5, 3)(images))
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(backbone(x)).mean(axis=(1, 2))
    encoder = encoders.build(backbone)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(encoder(x)), expected, rtol=1e-5, atol=1e-6)
    assert encoders.build(encoder) is encoder, "a model that ends in a vector stays as it is"


def test_saved_encoder_loads_as_plain_keras_layers(tmp_path):
    encoder = encoders.build("resnet18", image_size=32)
    encoder.save(tmp_path / "encoder.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in encoder.layers)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    again = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(again(x)), keras.ops.convert_to_numpy(encoder(x)), rtol=1e-5, atol=1e-6
    )


def test_what_is_no_encoder_is_refused():
    with pytest.raises(ValueError, match="unknown encoder 'resnet20': use one of resnet18"):
        encoders.build("resnet20", image_size=64)
    with pytest.raises(ValueError, match=r"at least 63 pixels for alexnet, and at most 32768; got 48"):
        encoders.build("alexnet", image_size=48)
    with pytest.raises(ValueError, match=r"at least 32 pixels for resnet18.*got 16"):
        encoders.build("resnet18", image_size=16)
    with pytest.raises(ValueError, match="image_size must be at least 32"):
        encoders.build("resnet50")
    images = keras.Input((32, 32, 3))
    with pytest.raises(ValueError, match="takes images of"):
        encoders.build(keras.Model(images, keras.layers.Conv2D(5, 3)(images)), image_size=64)
    other = keras.Input((32, 32, 3))
    two_inputs = keras.Model([images, other], keras.layers.add([images, other]))
    with pytest.raises(ValueError, match="one input and one output"):
        encoders.build(two_inputs)
    sequence = keras.Input((7, 3))
    with pytest.raises(ValueError, match="ends in a map"):
        encoders.build(keras.Model(sequence, keras.layers.Dense(2)(sequence)))
