"""Published weights into a ResNet encoder, and out again under torchvision's names.

Files are read as data alone: one that would run code is refused. Nothing is downloaded but a preset that is
asked for by its name.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping

import keras
import numpy as np
import safetensors.numpy

from keras_emoco import encoders

# Every ResNet in torchvision's naming has this tensor; what precedes it is the ResNet's place in the file.
_MARK = "layer1.0.conv1.weight"
_QUERY_ENCODER = "encoder_q."  # of MoCo's two, the one that downstream tasks use
_COUNTER = ".num_batches_tracked"  # counts steps for PyTorch alone
_STEM = {"conv1_conv": "conv1", "conv1_bn": "bn1"}
_PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_OIHW_TO_HWIO, _HWIO_TO_OIHW = (2, 3, 1, 0), (3, 2, 0, 1)


@dataclasses.dataclass(frozen=True)
class Account:
    """What became of everything in a file.

    Attributes:
        used: the encoder's variable, `layer/variable`, by the name of the tensor that fills it.
        left: names of the tensors and other entries that have no place in the encoder.
    """

    used: dict[str, str]
    left: list[str]

    def __str__(self):
        counters = [name for name in self.left if name.endswith(_COUNTER)]
        named = [name for name in self.left if not name.endswith(_COUNTER)]
        more = f", and {len(named) - 8} more" if len(named) > 8 else ""
        text = f"{len(self.used)} tensors used, which fill all of the encoder; {len(self.left)} left"
        text += f", {len(counters)} of them num_batches_tracked" if counters else ""
        return text + (f": {', '.join(named[:8])}{more}" if named else "")


def load(encoder: keras.Model, path: str | os.PathLike, prefix: str | None = None) -> Account:
    """Fill an encoder with the weights in a file.

    Args:
        encoder: a ResNet of `keras_emoco.encoders.build`; changed only if all of its variables can be filled.
        path: a state dict of torchvision's or timm's ResNet, or a checkpoint of MoCo v1 or v2 that holds one:
            `.safetensors`, or any name for a file of `torch.save`; or a `.keras` file of an encoder or of a
            model with an attribute `encoder`; or a ResNet preset of keras_hub: its directory, or its name,
            `"resnet_50_imagenet"`, `"kaggle://..."`, `"hf://..."`, by which keras_hub downloads it once.
            Only `torch.save`'s needs PyTorch.
        prefix: what precedes `layer1.0.conv1.weight` in the file, for instance `"module.encoder_k."`. None
            finds it, and takes the query encoder of MoCo's two.

    Returns:
        An `Account` of every tensor of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ConnectionError: a preset cannot be downloaded.
        ValueError: the file would run code, is cut off, or holds another architecture; a tensor is missing,
            has another shape, or is not finite; the encoder is no ResNet. The message names the tensor.
    """
    slots = _slots(encoder)
    tensors, others = _read(path)
    if prefix is None:
        prefix = _find_prefix(tensors, path)
    mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    values = {}
    for name, variable in slots.items():
        if name not in mine:
            raise ValueError(f"{path}: tensor {prefix + name} is missing; {_remedy(mine, encoder)}")
        value = _from_torch(mine[name])
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"{path}: tensor {prefix + name} has shape {mine[name].shape}, and {encoder.name} needs "
                f"{_to_torch(np.empty(variable.shape)).shape}; {_remedy(mine, encoder)}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: tensor {prefix + name} has NaN or infinite numbers: take another file")
        values[name] = value
    for name in mine:
        if re.match(r"(conv1|bn1|layer\d)\.", name) and name not in slots and not name.endswith(_COUNTER):
            raise ValueError(
                f"{path}: tensor {prefix + name} has no place in {encoder.name}; {_remedy(mine, encoder)}"
            )
    for name, value in values.items():
        slots[name].assign(value)
    used = {prefix + name: variable.path for name, variable in slots.items()}
    return Account(used, [name for name in [*tensors, *others] if name not in used])


def save(encoder: keras.Model, path: str | os.PathLike) -> None:
    """Write an encoder as `.safetensors` under torchvision's names, whole or not at all.

    PyTorch loads it into `torchvision.models.resnetNN()` whose `fc` is `torch.nn.Identity()`, and timm into
    `timm.create_model("resnetNN", num_classes=0)`.

    Args:
        encoder: a ResNet of `keras_emoco.encoders.build`.
        path: the file.

    Raises:
        ValueError: the encoder is no such ResNet.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f"{path.name}.partial")
    # timm and transformers refuse a file that does not say which framework's layout it has.
    safetensors.numpy.save_file(tensors_of(encoder), partial, metadata={"format": "pt"})
    os.replace(partial, path)


def tensors_of(encoder: keras.Model) -> dict[str, np.ndarray]:
    """An encoder's weights, float32, in torchvision's layout and under its names.

    Args:
        encoder: a ResNet of `keras_emoco.encoders.build`.

    Raises:
        ValueError: the encoder is no such ResNet.
    """
    return {
        name: np.ascontiguousarray(_to_torch(keras.ops.convert_to_numpy(variable)), "float32")
        for name, variable in _slots(encoder).items()
    }


def _slots(encoder):
    """The encoder's variables by torchvision's names for them."""
    slots = {}
    for layer in encoder.layers:
        for variable in layer.weights:
            slots[f"{_module(layer.name, encoder)}.{_PARTS[variable.name]}"] = variable
    return slots


def _module(layer, encoder):
    if layer in _STEM:
        return _STEM[layer]
    found = re.fullmatch(r"stack(\d)_block(\d+)_(\d)_(conv|bn)", layer)
    if not found:
        raise ValueError(
            f"layer {layer!r} of {encoder.name!r} has no counterpart in torchvision's ResNet: weights are "
            f"exchanged for {', '.join(encoders.RESNETS)} of keras_emoco.encoders.build"
        )
    stack, block, number, kind = found.groups()
    module = f"downsample.{'01'[kind == 'bn']}" if number == "0" else f"{kind}{number}"
    return f"layer{int(stack) + 1}.{block}.{module}"


def _to_torch(value):
    return value.transpose(_HWIO_TO_OIHW) if value.ndim == 4 else value


def _from_torch(tensor):
    tensor = np.asarray(tensor, "float32")
    return tensor.transpose(_OIHW_TO_HWIO) if tensor.ndim == 4 else tensor


def _find_prefix(tensors, path):
    found = sorted(name.removesuffix(_MARK) for name in tensors if name.endswith(_MARK))
    query = [prefix for prefix in found if prefix.endswith(_QUERY_ENCODER)]
    if len(query or found) == 1:
        return (query or found)[0]
    if found:
        raise ValueError(f"{path} holds several ResNets: choose one by prefix, one of {found}")
    names = ", ".join(list(tensors)[:5]) or "none"
    raise ValueError(
        f"{path} holds no ResNet in torchvision's naming: tensor {_MARK} is missing; its first are {names}"
    )


def _remedy(tensors, encoder):
    """What to do about a file that does not fit: name its architecture if it is known."""
    block = "bottleneck_block" if "layer1.0.conv3.weight" in tensors else "basic_block"
    blocks = [sum(bool(re.match(rf"layer{i}\.\d+\.conv1\.weight", n)) for n in tensors) for i in range(1, 5)]
    names = [name for name, architecture in encoders.RESNETS.items() if architecture == (block, blocks)]
    if names and names[0] != encoder.name:
        return f"the file is of a {names[0]}: build that encoder, or take a file of a {encoder.name}"
    return f"the file is not of torchvision's {encoder.name}: take one that is, or copy it again"


def _read(path):
    """The tensors of a file or preset by name, and the names of all else in it."""
    preset = str(path)
    path = pathlib.Path(path)
    if path.is_dir() or not path.exists():
        return _read_preset(preset, path.is_dir()), []
    if path.suffix == ".keras":
        return _read_keras(path), []
    if path.suffix == ".safetensors":
        return _read_safetensors(path), []
    return _read_torch(path)


def _read_keras(path):
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} does not load ({str(error).splitlines()[0]}): copy it again") from error
    try:
        return tensors_of(getattr(model, "encoder", model))
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds no ResNet of keras_emoco.encoders.build ({error})") from error


def _read_preset(preset, is_local):
    # Imported here: it takes seconds, and no other file needs it.
    import keras_hub

    if not (is_local or "://" in preset or preset in keras_hub.models.ResNetBackbone.presets):
        raise FileNotFoundError(
            f"{preset} is not there: give a file of weights, the directory of a preset of keras_hub, or the "
            "name of one, like resnet_50_imagenet"
        )
    try:
        backbone = keras_hub.models.ResNetBackbone.from_preset(preset)
    except Exception as error:  # Of kagglehub, huggingface_hub, h5py, JSON and Keras.
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        if is_local:
            raise ValueError(f"{preset} does not load ({reason}): give a ResNet's preset, whole") from error
        raise ConnectionError(
            f"preset {preset} cannot be had ({reason}): connect to the network once; or, where there is "
            f"one, keras_hub.models.Backbone.from_preset({preset!r}).save_to_preset(DIRECTORY), and give a "
            "copy of that directory"
        ) from error
    try:
        return tensors_of(backbone)
    except ValueError as error:
        raise ValueError(f"{preset}: {error}") from error


def _read_safetensors(path):
    try:
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged ({_cut_off(path) or error}): copy it again") from error


def _cut_off(path):
    """The first tensor that the header of a `.safetensors` promises and the file lacks; None if unknown."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        entries = json.loads(content[8:start])
        entries.pop("__metadata__", None)
        ends = sorted((int(entry["data_offsets"][1]), name) for name, entry in entries.items())
    # A damaged header may be any JSON.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None
    return next(
        (f"cut off before the end of {name}" for end, name in ends if start + end > len(content)), None
    )


def _read_torch(path):
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs PyTorch: pip install 'keras-emoco[torch]', or give a .safetensors"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if "weights_only" in text:
            reasons = [line.strip() for line in text.splitlines() if "nsupported" in line]
            raise ValueError(
                f"{path} is refused: it holds Python objects, and reading those can run code "
                f"({reasons[0] if reasons else 'not a file of tensors'}): save its state_dict alone"
            ) from error
        raise ValueError(f"{path} is damaged or cut off ({text.split('. ')[0]}): copy it again") from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, not a state dict: save model.state_dict()"
        )
    key = next((key for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)), None)
    others = [str(name) for name in content if name != key] if key else []
    state = content[key] if key else content
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    others += [str(name) for name in state if name not in tensors]
    # NumPy has no bfloat16.
    return {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in tensors.items()}, others
