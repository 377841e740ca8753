"""Encoders: models from images to one feature vector each, global average pooling on top."""

import keras

from keras_emoco import checks

# stackwise_num_filters and strides are those of every ResNet; blocks and type are the torchvision ones.
RESNETS = {
    "resnet18": ("basic_block", [2, 2, 2, 2]),
    "resnet34": ("basic_block", [3, 4, 6, 3]),
    "resnet50": ("bottleneck_block", [3, 4, 6, 3]),
    "resnet101": ("bottleneck_block", [3, 4, 23, 3]),
}
# ResNet halves the image five times: below this side its last map has no pixel of its own.
MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 2**15
# Below the first AlexNet's last map is empty, below the second it is one pixel.
MIN_ALEXNET_SIZE, ALEXNET_MAP_SIZE = 63, 95


def build(backbone: str | keras.Model, image_size: int | None = None) -> keras.Model:
    """An encoder with global average pooling on top.

    The ResNets are the torchvision ones (stride in the 3x3, symmetric padding, BatchNorm momentum 0.9 and
    epsilon 1e-5 in Keras's terms), so that published weights load. AlexNet is a baseline of Table I, also
    torchvision's, up to the 4096 features that its last layer classifies.

    Args:
        backbone: `"resnet18"`, `"resnet34"`, `"resnet50"`, `"resnet101"`, `"alexnet"`, or a `keras_hub` or
            `keras_cv` backbone or any `keras.Model` whose output is a map `(batch, height, width, channels)`
            or already a vector `(batch, features)`.
        image_size: side of the square RGB images in pixels. Needed with a name; with a model it is checked
            against the model's input where given.

    Returns:
        A `keras.Model` from `(batch, image_size, image_size, 3)` to float32 `(batch, features)`; a vector
        that the backbone itself ends in keeps its type.

    Raises:
        ValueError: unknown name, image too small, or a model whose input or output has another shape.
    """
    if isinstance(backbone, str):
        check(backbone, image_size)
        return _alexnet(image_size) if backbone == "alexnet" else _resnet(backbone, image_size)
    if not isinstance(backbone, keras.Model):
        raise ValueError(f"an encoder is a name or a keras.Model; got {backbone!r:.99}")
    if image_size is not None:
        checks.whole_number("image_size", image_size)
    if len(backbone.inputs or []) != 1 or len(backbone.outputs or []) != 1:
        raise ValueError(
            f"an encoder has one input and one output; {backbone.name!r} has {len(backbone.inputs or [])} "
            f"and {len(backbone.outputs or [])}: build it, or wrap it in a functional keras.Model"
        )
    sides = backbone.inputs[0].shape[1:3]
    if image_size is not None and any(side not in (None, image_size) for side in sides):
        raise ValueError(f"{backbone.name!r} takes images of {sides}; got image_size={image_size}")
    return _pooled(backbone)


def check(name: str, image_size: int | None) -> None:
    """Raise ValueError for a name that `build` does not know, or a side of images that it cannot take."""
    if name != "alexnet" and name not in RESNETS:
        raise ValueError(
            f"unknown encoder {name!r}: use one of {', '.join(RESNETS)}, alexnet, or pass a keras_hub or "
            "keras_cv backbone or a keras.Model"
        )
    if image_size is not None:
        checks.whole_number("image_size", image_size)
    least = MIN_ALEXNET_SIZE if name == "alexnet" else MIN_IMAGE_SIZE
    if image_size is None or not least <= image_size <= MAX_IMAGE_SIZE:
        why = "" if name == "alexnet" else ", which halves the image five times"
        raise ValueError(
            f"image_size must be at least {least} pixels for {name}{why}, and at most {MAX_IMAGE_SIZE}; got "
            f"{image_size}"
        )


def _resnet(name, image_size):
    # Imported here: keras_hub takes seconds, and a user with an encoder of their own does not need it.
    import keras_hub

    block_type, blocks = RESNETS[name]
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=blocks,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block_type,
        image_shape=(image_size, image_size, 3),
    )
    return _pooled(backbone, name)


def _alexnet(image_size):
    layers = keras.layers

    def convolution(filters, size, padding, **kwargs):
        return [layers.ZeroPadding2D(padding), layers.Conv2D(filters, size, activation="relu", **kwargs)]

    def pooling():
        return layers.MaxPooling2D(3, strides=2)

    def dense():
        return [layers.Dropout(0.5), layers.Dense(4096, activation="relu", dtype="float32")]

    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3)),
            *convolution(64, 11, padding=2, strides=4),
            pooling(),
            *convolution(192, 5, padding=2),
            pooling(),
            *convolution(384, 3, padding=1),
            *convolution(256, 3, padding=1),
            *convolution(256, 3, padding=1),
            pooling(),
            # In a graph Keras's adaptive pooling cannot spread a single pixel.
            layers.UpSampling2D(6) if image_size < ALEXNET_MAP_SIZE else layers.AdaptiveAveragePooling2D(6),
            layers.Flatten(),
            *dense(),
            *dense(),
        ],
        name="alexnet",
    )


def _pooled(backbone, name=None):
    output = backbone.outputs[0]
    if len(output.shape) == 2:
        return backbone
    if len(output.shape) != 4:
        raise ValueError(
            f"the output of {backbone.name!r} has shape {output.shape}; an encoder ends in a map (batch, "
            "height, width, channels) or a vector (batch, features)"
        )
    # Layer by layer, not the backbone as one layer: the saved encoder then loads without its library.
    # In float32 whatever the policy: features leave the network here, and NumPy files hold no bfloat16.
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(output)
    return keras.Model(backbone.inputs[0], features, name=name or f"{backbone.name}_encoder")
