"""`fit` against a plain PyTorch MoCo-style loop, and what `fit` refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn
from torch.nn import functional

import keras_emoco

CLASSES, DIM, HIDDEN, SIZE, BATCH, STEPS = 3, 16, 24, 10, 12, 5


def small_encoder():
    images = keras.Input((16, 16, 3))
    x = images
    for filters in (8, 12):
        x = keras.layers.Conv2D(filters, 3, strides=2, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        x = keras.layers.ReLU()(x)
    return keras_emoco.encoders.build(keras.Model(images, x), image_size=16)


def build(**settings):
    keras.utils.set_random_seed(7)
    settings = {
        "num_classes": CLASSES,
        "projection_dim": DIM,
        "hidden_dim": HIDDEN,
        "queue_size": SIZE,
        **settings,
    }
    return keras_emoco.EmoCo(small_encoder(), momentum=0.9, seed=3, **settings)


# Not seed 0: under JAX's first weights an input of a ReLU of the fifth step is 6e-7, and plain PyTorch
# differs from itself by 4e-4 when its images move by 1e-6. With seed 1 by 8e-7.
def batches(steps=STEPS, seed=1):
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(steps * BATCH, 16, 16, 3)).astype("float32")
    keys = queries + 0.3 * rng.normal(size=queries.shape).astype("float32")
    # Class 2 is absent from the first batch.
    labels = np.concatenate([rng.integers(0, 2, BATCH), rng.integers(0, CLASSES, (steps - 1) * BATCH)])
    return queries, keys, labels


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's, but the running variance takes the biased one of the batch, as Keras's does."""

    def forward(self, x):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        with torch.no_grad():
            self.running_mean.lerp_(mean, 0.1)
            self.running_var.lerp_(var, 0.1)
        return functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


class Encoder(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, bias=False), BatchNorm(8), nn.ReLU()),
            *(nn.Conv2d(8, 12, 3, 2, bias=False), BatchNorm(12), nn.ReLU()),
        )
        self.head = nn.Sequential(nn.Linear(12, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM))
        with torch.no_grad():
            for tensor, weight in zip(self.tensors(), weights, strict=True):
                weight = torch.tensor(weight)
                order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[weight.ndim]
                tensor.copy_(weight.permute(order))

    def tensors(self):
        """In the order of Keras's `weights`: each BatchNorm is gamma, beta, mean, variance."""
        for block in (self.body[0:2], self.body[3:5]):
            yield block[0].weight
            yield from (block[1].weight, block[1].bias, block[1].running_mean, block[1].running_var)
        for layer in (self.head[0], self.head[2]):
            yield from (layer.weight, layer.bias)

    def forward(self, images):
        features = self.body(torch.tensor(images).permute(0, 3, 1, 2)).mean((2, 3))
        return functional.normalize(self.head(features), dim=-1)


def plain_loop(model, data, shared, intra_class, emotion_weight, contrastive_weight):
    """MoCo's loop with (1) to (5) in the order of the paper; returns what it ends with."""
    get = keras.ops.convert_to_numpy
    query = Encoder([*model.encoder.get_weights(), *model.projection_head.get_weights()])
    key = Encoder([*model.key_encoder.get_weights(), *model.key_projection_head.get_weights()])
    classifier = nn.Linear(DIM, CLASSES, bias=False)
    classifier.weight.data = torch.tensor(get(model.classifier.kernel).T.copy())
    queues = [list(torch.tensor(queue)) for queue in get(model.dictionary.queues)]
    parameters = [*query.parameters(), *(classifier.parameters() if emotion_weight else [])]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3)
    history = []
    for step in range(STEPS):
        x_q, x_k, labels = (array[step * BATCH : (step + 1) * BATCH] for array in data)
        q = query(x_q)
        with torch.no_grad():
            k = key(x_k)
        w = functional.normalize(classifier.weight.detach(), dim=-1)
        emotion = functional.cross_entropy(classifier(q), torch.tensor(labels))
        contrastive = []
        for i, y in enumerate(labels):
            negatives = torch.stack(queues[0 if shared else y])
            points = [q[i], torch.cat([k[i][None], negatives])]
            if intra_class:
                points = [functional.normalize(point - w[y], dim=-1) for point in points]
            logits = points[1] @ points[0] / 0.2
            contrastive.append(functional.cross_entropy(logits[None], torch.tensor([0])))
        contrastive = torch.stack(contrastive).mean()
        loss = emotion_weight * emotion + contrastive_weight * contrastive
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for theta_k, theta_q in zip(key.parameters(), query.parameters(), strict=True):
                theta_k.mul_(0.9).add_(theta_q, alpha=0.1)
        for vector, y in zip(k, labels, strict=True):
            queue = queues[0 if shared else y]
            queue.append(vector)
            del queue[0]
        history.append(loss.item())
    return query, key, classifier, queues, history


VARIANTS = {
    "emoco": {},
    "five steps in one execution": {"steps_per_execution": STEPS},
    "compiled by XLA": {"jit_compile": True},
    "moco v2": {"dictionary": "shared", "normalization": "l2", "emotion_weight": 0.0},
    "without MQ": {"dictionary": "shared"},
    "without N": {"normalization": "l2", "emotion_weight": 0.7},
    "emotion only": {"contrastive_weight": 0.0},
    "heavier contrast": {"contrastive_weight": 1.5, "emotion_weight": 0.3},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_five_steps_equal_a_plain_pytorch_loop(name):
    settings = dict(VARIANTS[name])
    compile_settings = {k: settings.pop(k) for k in ("steps_per_execution", "jit_compile") if k in settings}
    if keras.backend.backend() == "torch" and compile_settings:
        pytest.skip("Keras has neither XLA nor steps_per_execution on PyTorch")
    model, data = build(**settings), batches()
    query, key, classifier, queues, history = plain_loop(
        model,
        data,
        shared=settings.get("dictionary") == "shared",
        intra_class=settings.get("normalization") != "l2",
        emotion_weight=settings.get("emotion_weight", 1.0),
        contrastive_weight=settings.get("contrastive_weight", 1.0),
    )
    model.compile(keras_emoco.optimizers.sgd(0.05, weight_decay=1e-3), **compile_settings)
    logs = model.fit(data[:2], data[2], batch_size=BATCH, shuffle=False, verbose=0).history
    np.testing.assert_allclose(logs["loss"][-1], np.mean(history), rtol=1e-4)

    get = keras.ops.convert_to_numpy
    for network, peer in (
        ([*model.encoder.weights, *model.projection_head.weights], query),
        ([*model.key_encoder.weights, *model.key_projection_head.weights], key),
    ):
        for weight, tensor in zip(network, peer.tensors(), strict=True):
            if peer is key and model.contrastive_weight == 0 and "moving" in weight.name:
                continue  # Without the contrastive branch no key is ever encoded.
            value = get(weight).transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(weight.shape)])
            np.testing.assert_allclose(value, tensor.detach().numpy(), atol=1e-4, err_msg=weight.path)
    np.testing.assert_allclose(get(model.classifier.kernel).T, classifier.weight.detach().numpy(), atol=1e-4)
    if model.contrastive_weight:
        for queue, pointer, expected in zip(
            get(model.dictionary.queues), get(model.dictionary.pointers), queues, strict=True
        ):
            np.testing.assert_allclose(
                np.roll(queue, -int(pointer), axis=0), torch.stack(expected), atol=1e-4
            )


def test_outputs_have_the_documented_shapes_and_norm():
    outputs = build()(batches()[0][:4])
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {"features": (4, 12), "embedding": (4, DIM), "emotion_logits": (4, CLASSES)}
    norms = np.linalg.norm(keras.ops.convert_to_numpy(outputs["embedding"]), axis=-1)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)


def test_prototypes_begin_at_the_length_asked_for():
    norms = {}
    for length in (None, 8.0):
        model = keras_emoco.EmoCo(small_encoder(), queue_size=4, prototype_norm=length, seed=1)
        norms[length] = np.linalg.norm(model.classifier.get_weights()[0], axis=0)
    # Glorot's: 128 numbers of variance 2 / (128 + 7).
    np.testing.assert_allclose(norms[None].mean(), np.sqrt(128 * 2 / 135), rtol=0.1)
    np.testing.assert_allclose(norms[8.0], 8.0, rtol=0.25)
    np.testing.assert_allclose(norms[8.0].mean(), 8.0, rtol=0.1)


@pytest.mark.parametrize("statistics", ["batch", "moving"])
def test_moving_statistics_keep_keys_apart_from_their_batch(statistics):
    model, data = build(key_statistics=statistics), batches()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    norms = [
        next(
            layer for layer in encoder._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)
        )
        for encoder in (model.encoder, model.key_encoder)
    ]
    before = norms[1].get_weights()
    model.fit(data[:2], data[2], batch_size=BATCH, steps_per_epoch=1, verbose=0)
    query, key = (norm.get_weights() for norm in norms)
    followed = [np.allclose(k, 0.9 * b + 0.1 * q) for b, q, k in zip(before, query, key, strict=True)]
    # Scale, offset, mean, variance.
    assert followed == [True, True, statistics == "moving", statistics == "moving"]
    assert not np.allclose(query[2], before[2]), "the mean has moved, so the test tests something"
    views = data[1][:BATCH]
    whole, half = (
        keras.ops.convert_to_numpy(model.encode_keys(part, training=True))[: BATCH // 2]
        for part in (views, views[: BATCH // 2])
    )
    assert np.allclose(whole, half, atol=1e-5) == (statistics == "moving")


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's copies")
def test_step_writes_into_the_dictionary_without_a_copy():
    import jax

    model, (queries, keys, labels) = build(queue_size=2**16), batches(1)
    model.compile(keras_emoco.optimizers.sgd(0.05))
    model.optimizer.build(model.trainable_variables)
    state = [
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    ]
    step = (
        jax.jit(model.train_step, donate_argnums=0).lower(tuple(state), ((queries, keys), labels)).compile()
    )
    assert step.memory_analysis().temp_size_in_bytes < CLASSES * 2**16 * DIM * 4


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or tf.config.list_physical_devices("GPU"),
    reason="the operations of TensorFlow on a CPU",
)
def test_optimizer_and_momentum_update_are_one_pass_over_memory_each():
    model, (queries, keys, labels) = build(), batches(1)
    model.compile(keras.optimizers.AdamW(0.001))
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step).get_concrete_function(((queries, keys), labels))
    graph = step.graph.as_graph_def()
    compiled = [function for function in graph.library.function if function.attr["_XlaMustCompile"].b]
    moving = "ResourceApplyGradientDescent"
    found = [{node.op for node in function.node_def} & {"Sqrt", moving} for function in compiled]
    assert len(found) == 2
    assert {"Sqrt"} in found
    assert {moving} in found
    assert moving not in {node.op for node in graph.node}
    assert "apply" not in vars(model.optimizer), "as it was before"


def test_logs_have_the_documented_names():
    model, data = build(), batches()
    model.compile(keras_emoco.optimizers.sgd(keras_emoco.optimizers.cosine(0.05, BATCH, STEPS)))
    logs = model.fit(data[:2], data[2], batch_size=BATCH, verbose=0).history
    assert set(logs) == {
        "loss",
        "emotion_loss",
        "contrastive_loss",
        "emotion_accuracy",
        "contrastive_accuracy",
        "learning_rate",
    }
    assert logs["learning_rate"][-1] == pytest.approx(0.0, abs=1e-9), "the rate after the last step"
    assert "learning_rate" not in model.evaluate(data[:2], data[2], verbose=0, return_dict=True)


def test_evaluate_changes_nothing():
    model, data = build(), batches()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    before = [keras.ops.convert_to_numpy(v) for v in model.non_trainable_variables]
    model.evaluate(data[:2], data[2], verbose=0)
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))


def test_callback_sets_the_momentum_and_two_are_refused():
    model, data = build(), batches()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    model.fit(data[:2], data[2], batch_size=BATCH, verbose=0)
    model.fit(
        data[:2], data[2], batch_size=BATCH, verbose=0, callbacks=[keras_emoco.MomentumEncoder(momentum=0.0)]
    )
    # With m = 0 the key encoder is the query encoder after each step.
    for key, query in zip(model.key_variables, model.query_variables, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(key), keras.ops.convert_to_numpy(query), rtol=1e-6, atol=1e-7
        )
    two = [keras_emoco.MomentumEncoder(0.5), keras_emoco.MomentumEncoder(0.9)]
    with pytest.raises(ValueError, match="2 MomentumEncoder callbacks"):
        model.fit(data[:2], data[2], callbacks=two)
    with pytest.raises(ValueError, match=r"momentum must be a number in \[0, 1\); got 1.0"):
        keras_emoco.MomentumEncoder(1.0)


def test_saved_model_goes_on_as_the_one_in_memory(tmp_path):
    data = batches()
    model = build()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    model.fit(data[:2], data[2], batch_size=BATCH, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    histories = [
        m.fit(data[:2], data[2], batch_size=BATCH, shuffle=False, verbose=0).history["loss"][-1]
        for m in (model, again)
    ]
    assert histories[0] == pytest.approx(histories[1], rel=1e-6)
    for one, two in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two), atol=1e-6, err_msg=one.path
        )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_losses_norms_and_dictionary_in_float32(policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model, data = build(), batches()
        model.compile(keras_emoco.optimizers.sgd(0.05))
        logs = model.fit(data[:2], data[2], batch_size=BATCH, verbose=0).history
        outputs = model(data[0][:4])
    finally:
        keras.mixed_precision.set_global_policy("float32")
    convolution = model.encoder.layers[1]
    assert convolution.compute_dtype == policy.removeprefix("mixed_")
    for name in ("features", "embedding", "emotion_logits"):
        assert keras.backend.standardize_dtype(outputs[name].dtype) == "float32", name
    assert model.dictionary.queues.dtype == "float32"
    norms = np.linalg.norm(keras.ops.convert_to_numpy(model.dictionary.queues), axis=-1)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
    assert np.isfinite(logs["loss"][-1])


def test_labels_out_of_range_are_refused():
    model, (queries, keys, labels) = build(), batches()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    labels = labels.copy()
    labels[4] = 9
    message = r"labels must lie in \[0, 3\); got 9 at index 4"
    with pytest.raises(ValueError, match=message):
        model.fit((queries, keys), labels, batch_size=BATCH)
    dataset = tf.data.Dataset.from_tensor_slices(((queries, keys), labels)).batch(BATCH)
    with pytest.raises(ValueError, match=message):
        model.fit(dataset, verbose=0)


def test_batch_without_two_views_is_refused():
    model, (queries, _, labels) = build(), batches()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    for data in (
        {"x": queries, "y": labels},
        {"x": tf.data.Dataset.from_tensor_slices((queries, labels)).batch(BATCH)},
    ):
        with pytest.raises(ValueError, match="without a second view: make the views with"):
            model.fit(**data, verbose=0)
    with pytest.raises(ValueError, match="no label"):
        model.fit(tf.data.Dataset.from_tensor_slices(queries).batch(BATCH), verbose=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_classes": 0}, "num_classes must be a positive integer; got 0"),
        ({"dictionary": "queue"}, "dictionary must be one of"),
        ({"normalization": "none"}, "normalization must be one of"),
        ({"temperature": 0.0}, "temperature must be positive; got 0.0"),
        ({"emotion_weight": -1.0}, "emotion_weight must be a number of at least 0; got -1.0"),
        ({"emotion_weight": 0.0, "contrastive_weight": 0.0}, "both 0: nothing would be trained"),
        ({"prototype_norm": 0.0}, "prototype_norm must be positive, or None; got 0.0"),
        ({"key_statistics": "ema"}, "key_statistics must be one of"),
        ({"seed": 1.5}, "seed must be None or an integer from 0"),
    ],
)
def test_settings_outside_their_range_are_refused(setting, message):
    arguments = {"num_classes": 3, "queue_size": 4, **setting}
    with pytest.raises(ValueError, match=message):
        keras_emoco.EmoCo(small_encoder(), **arguments)


def test_encoder_without_pooling_and_gradient_accumulation_are_refused():
    images = keras.Input((16, 16, 3))
    backbone = keras.Model(images, keras.layers.Conv2D(4, 3)(images))
    with pytest.raises(ValueError, match=r"build it with keras_emoco.encoders.build"):
        keras_emoco.EmoCo(backbone)
    model, data = build(), batches()
    model.compile(keras_emoco.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="use a larger batch"):
        model.fit(data[:2], data[2], verbose=0)


@pytest.mark.parametrize("view", [0, 1], ids=["query", "key"])
def test_nan_image_makes_the_loss_nan_at_its_step(view):
    # The ReLU after BatchNorm may turn NaN into 0, so that every embedding and the loss look sound.
    model = build()
    model.compile(keras_emoco.optimizers.sgd(0.05))
    queries, keys, labels = batches(4)
    (queries, keys)[view][2 * BATCH + 1] = np.nan
    losses = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: losses.append(logs["loss"]))
    model.fit((queries, keys), labels, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[watch])
    assert [bool(np.isnan(loss)) for loss in losses] == [False, False, True, True]


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras runs PyTorch without a compiler")
def test_step_is_compiled_once_whatever_classes_a_batch_holds():
    model = build()
    model.compile(keras_emoco.optimizers.sgd(0.05), jit_compile=True)
    queries, keys, labels = batches(6)
    labels[:BATCH], labels[BATCH : 2 * BATCH] = 0, 2
    traces, compute_loss = [], model.compute_loss
    # Python runs the step where it is traced, and a trace is a compilation.
    model.compute_loss = lambda *args, **kwargs: traces.append(1) or compute_loss(*args, **kwargs)
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(len(traces)))
    model.fit((queries, keys), labels, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[watch])
    assert len(seen) == 6
    assert seen[0] > 0
    assert seen[-1] == seen[0]
