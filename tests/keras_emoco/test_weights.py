"""Weights in and out, against torchvision's and timm's ResNets in PyTorch, and files that must be refused."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy

from keras_emoco import encoders, weights

torch = pytest.importorskip("torch")
peers = pytest.importorskip("trainers.benchmark.peers")
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def torchvision():
    """torchvision, also where its compiled operators do not load: ResNets need none of them."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    return peers.torchvision()


def trained(network, size=64):
    """A network whose every weight and statistic is its own, as after training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        network.train()
        for _ in range(3):
            network(torch.randn(4, 3, size, size))
    return network.eval()


@pytest.fixture(scope="module")
def resnet18(torchvision):
    return trained(torchvision.models.resnet18())


@pytest.fixture
def file(tmp_path, resnet18):
    """torchvision's ResNet-18 as `.safetensors`."""
    return write_safetensors(tmp_path / "resnet18.safetensors", resnet18.state_dict())


def write_safetensors(path, state):
    safetensors.numpy.save_file({name: value.numpy() for name, value in state.items()}, path)
    return path


def moco(network, key, path):
    """A checkpoint as MoCo's `main_moco.py` writes it: DistributedDataParallel, both encoders, optimizer."""
    state = {f"module.encoder_q.{name}": value for name, value in network.state_dict().items()}
    state |= {f"module.encoder_k.{name}": value for name, value in key.state_dict().items()}
    state |= {"module.queue": torch.randn(128, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    optimizer = torch.optim.SGD(network.parameters(), 0.03, momentum=0.9)
    content = {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save(content, path)
    return path


def features(encoder, images):
    return keras.ops.convert_to_numpy(encoder(images, training=False))


def torch_features(network, images):
    """Of a network whose `fc` or `head` is left out, as (batch, features)."""
    with torch.no_grad():
        outputs = []
        hook = network.get_submodule("avgpool" if hasattr(network, "avgpool") else "global_pool")
        handle = hook.register_forward_hook(lambda module, inputs, output: outputs.append(output.flatten(1)))
        network.eval()(torch.tensor(images.transpose(0, 3, 1, 2)))
        handle.remove()
    return outputs[0].numpy()


def images(size, count=2):
    return np.random.default_rng(size).normal(size=(count, size, size, 3)).astype("float32")


def test_resnet50_of_moco_gives_torchs_features_and_goes_back(torchvision, tmp_path):
    network = trained(torchvision.models.resnet50())
    key = torchvision.models.resnet50()
    path = moco(network, key, tmp_path / "moco.pth.tar")
    for size in (224, 160):
        encoder = encoders.build("resnet50", size)
        account = weights.load(encoder, path)
        x = images(size)
        expected = torch_features(network, x)
        assert expected.std() > 0.1
        np.testing.assert_allclose(features(encoder, x), expected, atol=1e-4, err_msg=f"{size} pixels")
    # 53 convolutions of one tensor, 53 BatchNorms of four; the rest of both encoders, queue and entries.
    assert len(account.used) == 53 + 53 * 4
    assert account.used["module.encoder_q.layer4.2.bn3.running_var"] == "stack3_block2_3_bn/moving_variance"
    assert len(account.used) + len(account.left) == 2 * len(network.state_dict()) + 2 + 3
    assert {"module.queue", "module.encoder_q.fc.weight", "optimizer", "arch"} <= set(account.left)
    assert "265 tensors used" in str(account)
    weights.load(encoder, path, prefix="module.encoder_k.")
    np.testing.assert_allclose(features(encoder, x), torch_features(key, x), atol=1e-4)

    weights.load(encoder, path)
    weights.save(encoder, tmp_path / "encoder.safetensors")
    again = torchvision.models.resnet50()
    again.fc = torch.nn.Identity()
    from safetensors.torch import load_file

    again.load_state_dict(load_file(tmp_path / "encoder.safetensors"), strict=True)
    np.testing.assert_allclose(torch_features(again, x), expected, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_timm_and_basic_blocks(torchvision, tmp_path):
    timm = pytest.importorskip("timm")
    network = trained(timm.create_model("resnet34"))
    encoder = encoders.build("resnet34", 64)
    x = images(64)
    for path in (tmp_path / "timm.safetensors", tmp_path / "timm.pth"):
        if path.suffix == ".pth":
            torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, path)
        else:
            write_safetensors(path, network.state_dict())
        encoder.set_weights([np.zeros(v.shape) for v in encoder.weights])
        weights.load(encoder, path)
        np.testing.assert_allclose(features(encoder, x), torch_features(network, x), atol=1e-4)
    weights.save(encoder, tmp_path / "encoder.safetensors")
    again = timm.create_model(
        "resnet34", num_classes=0, checkpoint_path=str(tmp_path / "encoder.safetensors")
    )
    np.testing.assert_allclose(torch_features(again, x), torch_features(network, x), atol=1e-5)


def test_half_precision(resnet18, tmp_path):
    state = {name: v.bfloat16() if v.is_floating_point() else v for name, v in resnet18.state_dict().items()}
    from safetensors.torch import save_file

    save_file(state, tmp_path / "half.safetensors")
    torch.save(state, tmp_path / "half.pth")
    for path in (tmp_path / "half.safetensors", tmp_path / "half.pth"):
        encoder = encoders.build("resnet18", 32)
        weights.load(encoder, path)
        kernel = resnet18.conv1.weight.detach().bfloat16().float().numpy()
        np.testing.assert_array_equal(weights.tensors_of(encoder)["conv1.weight"], kernel)


def test_keras_file_of_another_size(file, tmp_path):
    small = encoders.build("resnet18", 32)
    weights.load(small, file)
    small.save(tmp_path / "encoder.keras")
    large = encoders.build("resnet18", 64)
    weights.load(large, tmp_path / "encoder.keras")
    for one, two in zip(small.get_weights(), large.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    (tmp_path / "half.keras").write_bytes((tmp_path / "encoder.keras").read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"half\.keras does not load"):
        weights.load(large, tmp_path / "half.keras")


def preset(directory, blocks=(2, 2, 2, 2), **settings):
    """A ResNet of keras_hub whose every weight is its own, and the preset it is saved as."""
    backbone = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], blocks, [1, 2, 2, 2], "basic_block", **settings
    )
    rng = np.random.default_rng(0)
    for variable in backbone.weights:
        noise = rng.normal(size=variable.shape)
        kernel = len(variable.shape) == 4
        variable.assign(noise * np.sqrt(2 / np.prod(variable.shape[:-1])) if kernel else 1 + 0.2 * abs(noise))
    backbone.save_to_preset(directory)
    return backbone


def test_preset_of_keras_hub_gives_its_features(tmp_path):
    backbone = preset(tmp_path / "preset")
    for size in (64, 48):
        encoder = encoders.build("resnet18", size)
        account = weights.load(encoder, tmp_path / "preset")
        x = images(size)
        expected = features(backbone, x).mean((1, 2))
        assert expected.std() > 0.1
        np.testing.assert_allclose(features(encoder, x), expected, atol=1e-5, rtol=1e-5)
    assert len(account.used) == len(backbone.weights) == 100
    assert account.left == []


def test_presets_that_do_not_fit_or_cannot_be_had_are_explained(tmp_path, monkeypatch):
    encoder = encoders.build("resnet18", 32)
    before = encoder.get_weights()

    def refused(name, match, kind=ValueError):
        with pytest.raises(kind, match=match):
            weights.load(encoder, name)

    preset(tmp_path / "deep", blocks=(3, 4, 6, 3))
    refused(tmp_path / "deep", r"tensor layer1\.2\.\S+ has no place in resnet18; the file is of a resnet34")
    preset(tmp_path / "v2", use_pre_activation=True)
    refused(tmp_path / "v2", r"v2: layer '.*' of 'res_net_backbone\w*' has no counterpart in torchvision's")
    keras_hub.models.VGGBackbone([1], [8]).save_to_preset(tmp_path / "vgg")
    refused(tmp_path / "vgg", r"vgg does not load \(.*VGGBackbone.*\): give a ResNet's preset, whole")
    preset(tmp_path / "cut")
    content = (tmp_path / "cut" / "model.weights.h5").read_bytes()
    (tmp_path / "cut" / "model.weights.h5").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "cut", r"cut does not load \(.*truncated.*\): give a ResNet's preset, whole")
    (tmp_path / "cut" / "model.weights.h5").unlink()
    refused(tmp_path / "cut", r"cut does not load \(.*model\.weights.*\): give a ResNet's preset, whole")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty does not load \(.*no config\.json")
    refused("resnet_18_imagnet", r"resnet_18_imagnet is not there: .*like resnet_50_", FileNotFoundError)
    # Offline on any machine: nothing listens there.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    remedy = r"cannot be had \(.*\): connect to the network once; or, where .*save_to_preset\(DIRECTORY\)"
    refused("resnet_18_imagenet", f"preset resnet_18_imagenet {remedy}", ConnectionError)
    handle = "kaggle://keras/resnetv1/keras/resnet_18_imagenet"
    refused(handle, f"preset {handle} {remedy}", ConnectionError)
    for one, two in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


NO_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
from keras_emoco import encoders, weights

encoder = encoders.build("resnet18", 32)
print(len(weights.load(encoder, sys.argv[1]).used))
weights.save(encoder, sys.argv[2])
try:
    weights.load(encoder, __file__)
except ValueError as error:
    print(error)
"""


def test_safetensors_need_no_torch(file, tmp_path):
    program, again = tmp_path / "program.py", tmp_path / "again.safetensors"
    program.write_text(NO_TORCH)
    output = subprocess.run(
        [sys.executable, program, file, again],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # 20 convolutions of one tensor, 20 BatchNorms of four.
    assert output.splitlines()[0] == "100"
    assert "needs PyTorch: pip install 'keras-emoco[torch]', or give a .safetensors" in output
    one = safetensors.numpy.load_file(file)
    for name, value in safetensors.numpy.load_file(again).items():
        np.testing.assert_array_equal(value, one[name])


class Code:
    def __reduce__(self):
        return os.system, ("touch code_was_run",)


def test_code_is_refused(resnet18, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = encoders.build("resnet18", 32)
    for new in (True, False):
        content = {"state_dict": resnet18.state_dict(), "arch": Code()}
        torch.save(content, "bad.pth", _use_new_zipfile_serialization=new)
        with pytest.raises(ValueError, match=r"bad\.pth is refused: .* can run code .*system"):
            weights.load(encoder, "bad.pth")
    torch.save(resnet18, "whole_model.pth")
    with pytest.raises(ValueError, match=r"whole_model\.pth is refused.*save its state_dict alone"):
        weights.load(encoder, "whole_model.pth")
    assert not (tmp_path / "code_was_run").exists()


def test_cut_off_files(resnet18, file, tmp_path):
    encoder = encoders.build("resnet18", 32)
    torch.save(resnet18.state_dict(), tmp_path / "new.pth")
    torch.save(resnet18.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("new.pth", "old.pth", file.name):
        content = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=rf"cut_{name} is damaged.*cut off.*: copy it again"):
            weights.load(encoder, cut)
    # A quarter of all weights in the file's order, which is the names'.
    with pytest.raises(ValueError, match=r"cut off before the end of (bn1|layer[1-4])\S+: copy"):
        weights.load(encoder, cut)
    cut.write_bytes(content[:100])
    with pytest.raises(ValueError, match="is damaged"):
        weights.load(encoder, cut)
    with pytest.raises(FileNotFoundError, match=r"no\.pth is not there"):
        weights.load(encoder, tmp_path / "no.pth")


def test_what_does_not_fit_is_named_and_changes_nothing(torchvision, resnet18, file, tmp_path):
    encoder = encoders.build("resnet18", 32)
    before = encoder.get_weights()

    def refused(match, state=None, target=encoder, path=tmp_path / "odd.safetensors"):
        if state is not None:
            write_safetensors(path, state)
        with pytest.raises(ValueError, match=match):
            weights.load(target, path)

    state = resnet18.state_dict()
    state["layer2.0.bn1.running_var"] = state["layer2.0.bn1.running_var"][:5]
    refused(r"layer2\.0\.bn1\.running_var has shape \(5,\), and resnet18 needs \(128,\)", state)
    state = resnet18.state_dict()
    state["layer4.1.conv2.weight"] = state["layer4.1.conv2.weight"] / 0
    refused(r"layer4\.1\.conv2\.weight has NaN or infinite", state)
    state = resnet18.state_dict()
    del state["layer3.1.bn2.bias"]
    refused(r"tensor layer3\.1\.bn2\.bias is missing", state)
    state = {**resnet18.state_dict(), "layer1.0.se.fc1.weight": torch.zeros(4)}
    refused(r"tensor layer1\.0\.se\.fc1\.weight has no place in resnet18", state)
    refused(r"holds no ResNet.*tensor layer1\.0\.conv1\.weight is missing", {"stem.weight": torch.zeros(4)})
    # A ResNet-34 has all that a ResNet-18 needs, in its shapes.
    state = torchvision.models.resnet34().state_dict()
    refused(r"tensor layer1\.2\.\S+ has no place in resnet18; the file is of a resnet34", state)
    refused(
        r"layer1\.0\.conv1\.weight has shape \(64, 64, 3, 3\), and resnet50 needs \(64, 64, 1, 1\); the file "
        "is of a resnet18: build that encoder",
        target=encoders.build("resnet50", 32),
        path=file,
    )
    state = {f"{name}.{k}": v.clone() for name in "ab" for k, v in resnet18.state_dict().items()}
    refused(r"holds several ResNets: choose one by prefix, one of \['a\.', 'b\.'\]", state)
    inputs = keras.Input((32, 32, 3))
    other = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="mine")(inputs))
    refused("layer 'mine' of .* has no counterpart in torchvision's ResNet", target=other, path=file)
    for one, two in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
