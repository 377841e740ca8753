"""The EmoCo model: a MoCo encoder whose negatives share the query's emotion, and an emotion classifier."""

import keras
from keras import ops

from keras_emoco import backend, checks, losses
from keras_emoco.momentum_encoder import MomentumEncoder
from keras_emoco.multi_queue_dictionary import MultiQueueDictionary


@keras.saving.register_keras_serializable("keras_emoco")
class EmoCo(keras.Model):
    """Emotion-aware contrastive learning (Sun, Zeng, Shan: FG 2021), Fig. 2.

    Baselines of the paper are settings: MoCo v2 is `dictionary="shared", normalization="l2",
    emotion_weight=0`, multi-queue MoCo `normalization="l2", emotion_weight=0`, emotion only
    `contrastive_weight=0`.

    Args:
        encoder: `keras.Model` from images to `(batch, features)`, see `keras_emoco.encoders.build`.
        num_classes: `C`, the number of emotions.
        projection_dim: `D`, numbers in an embedding.
        hidden_dim: units of the projection head's hidden layer.
        queue_size: `K`, keys in each queue of the dictionary.
        dictionary: `"per_class"`, one queue for each emotion, or `"shared"`, one for all.
        normalization: `"intra_class"`, equation (4), or `"l2"`.
        temperature: `tau` of (5).
        emotion_weight: `lambda` of (1); 0 drops the emotion branch.
        contrastive_weight: weight of the contrastive loss; 0 drops the contrastive branch.
        momentum: `m` of (3) in `[0, 1)`, for the `MomentumEncoder` that `fit` adds.
        prototype_norm: expected length of the emotion prototypes, rows of `W` in (2), before training; None
            for Glorot's, about 1.4 with the defaults. The embedding has unit length, so a logit is at most as
            large as its prototype is long: short ones keep the softmax flat until they have grown.
        key_statistics: what the key encoder's BatchNorm normalises by: `"batch"`, the keys' own batch, as in
            MoCo and the paper, or `"moving"`, the moving averages of the query encoder, which follow it as
            the weights do (EMAN: Cai et al., arXiv:2101.08482). A query and its positive come from the same
            pictures and so have like statistics of their batch, by which they can be told from negatives.
        seed: int or None. Seed of the head, the classifier and the dictionary's first keys.

    Calling the model on images gives a dict of `features` `(B, F)`, `embedding` `(B, D)` with unit norm and
    `emotion_logits` `(B, C)`. Training takes batches of `((query_view, key_view), label)`.

    Example:
    ```python
    encoder = keras_emoco.encoders.build("resnet50", image_size=224)
    model = keras_emoco.EmoCo(encoder, num_classes=7)
    model.compile(optimizer=keras_emoco.optimizers.sgd(learning_rate=0.03))
    model.fit(dataset, epochs=200)
    features = model.encoder(images)
    ```

    Raises:
        ValueError: an argument is outside its range, or the encoder does not end in a vector.
    """

    def __init__(
        self,
        encoder: keras.Model,
        num_classes: int = 7,
        projection_dim: int = 128,
        hidden_dim: int = 2048,
        queue_size: int = 65536,
        dictionary: str = "per_class",
        normalization: str = "intra_class",
        temperature: float = 0.2,
        emotion_weight: float = 1.0,
        contrastive_weight: float = 1.0,
        momentum: float = 0.999,
        prototype_norm: float | None = None,
        key_statistics: str = "batch",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings = {
            "num_classes": num_classes,
            "projection_dim": projection_dim,
            "hidden_dim": hidden_dim,
            "queue_size": queue_size,
            "dictionary": dictionary,
            "normalization": normalization,
            "temperature": temperature,
            "emotion_weight": emotion_weight,
            "contrastive_weight": contrastive_weight,
            "momentum": momentum,
            "prototype_norm": prototype_norm,
            "key_statistics": key_statistics,
            "seed": seed,
        }
        checks.settings(encoder=encoder, **self.settings)
        self.num_classes, self.temperature = num_classes, temperature
        self.normalization, self.dictionary_kind = normalization, dictionary
        self.emotion_weight, self.contrastive_weight = emotion_weight, contrastive_weight
        self.key_statistics = key_statistics
        self.momentum_encoder = MomentumEncoder(momentum)

        self.encoder = encoder
        self.projection_head = _projection_head(encoder.output_shape[-1], hidden_dim, projection_dim, seed)
        initializer = keras.initializers.GlorotUniform(seed)
        if prototype_norm is not None:
            initializer = keras.initializers.RandomNormal(
                stddev=prototype_norm / projection_dim**0.5, seed=seed
            )
        self.classifier = keras.layers.Dense(
            num_classes, use_bias=False, kernel_initializer=initializer, dtype="float32", name="classifier"
        )
        self.classifier.build((None, projection_dim))
        # Without its loss it has no gradient, and weight decay alone must not move it.
        self.classifier.trainable = emotion_weight > 0
        self.key_encoder = _frozen_copy(encoder)
        self.key_projection_head = _frozen_copy(self.projection_head)
        self.dictionary = MultiQueueDictionary(
            num_classes if dictionary == "per_class" else 1, queue_size, projection_dim, seed=seed
        )
        self.trackers = {
            name: keras.metrics.Mean(name=name)
            for name in (
                "emotion_loss",
                "contrastive_loss",
                "emotion_accuracy",
                "contrastive_accuracy",
                "learning_rate",
            )
        }
        self.built = True

    @property
    def query_variables(self) -> list:
        """theta_q of (3): the weights of the query encoder and its head that the key encoder follows."""
        return [query for query, _ in self._pairs()]

    @property
    def key_variables(self) -> list:
        """theta_k of (3), in the order of `query_variables`."""
        return [key for _, key in self._pairs()]

    def _pairs(self):
        pairs = zip(
            [*self.encoder.variables, *self.projection_head.variables],
            [*self.key_encoder.variables, *self.key_projection_head.variables],
            strict=True,
        )
        # A random layer's state is no number to average.
        moves = {"batch": lambda v: v.trainable, "moving": lambda v: keras.backend.is_float_dtype(v.dtype)}
        return [pair for pair in pairs if moves[self.key_statistics](pair[0])]

    def call(self, images, training=None):
        if isinstance(images, (tuple, list)):
            images = images[0]
        features = self.encoder(images, training=training)
        embedding = losses.l2_normalize(self.projection_head(features, training=training))
        return {
            "features": features,
            "embedding": embedding,
            "emotion_logits": self.classifier(embedding),
        }

    def encode_keys(self, images, training=None):
        """Unit keys `(B, D)` of the key encoder; constants to the gradient."""
        if self.key_statistics == "moving":
            training = False
        features = self.key_encoder(images, training=training)
        keys = losses.l2_normalize(self.key_projection_head(features, training=training))
        return ops.stop_gradient(keys)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Equation (1): `lambda L_emo + L_cont`; then the batch's keys enter the dictionary."""
        _, key_view = checks.two_views(x)
        labels = ops.cast(ops.reshape(y, (-1,)), "int32")
        loss = 0.0
        if self.emotion_weight:
            emotion = losses.emotion_loss(y_pred["emotion_logits"], labels)
            predicted = ops.argmax(y_pred["emotion_logits"], axis=-1)
            loss += self.emotion_weight * ops.mean(emotion)
            self._track("emotion", emotion, ops.cast(predicted, "int32") == labels)
        if self.contrastive_weight:
            keys = self.encode_keys(key_view, training=training)
            contrastive, accuracy = losses.contrastive_loss_and_accuracy(
                y_pred["embedding"],
                keys,
                labels,
                self.dictionary.queues,
                # A row of the classifier's weight matrix W of (2) is a column of Keras's kernel.
                ops.transpose(self.classifier.kernel) if self.normalization == "intra_class" else None,
                self.temperature,
            )
            loss += self.contrastive_weight * ops.mean(contrastive)
            self._track("contrastive", contrastive, accuracy)
            if training:
                keys = backend.gather_replicas(backend.after(keys, contrastive))
                labels = backend.gather_replicas(labels)
                shared = self.dictionary_kind == "shared"
                self.dictionary.enqueue(keys, ops.zeros_like(labels) if shared else labels)
        variables = [*self.encoder.variables, *self.key_encoder.variables]
        return backend.scale_loss(losses.nan_unless_finite(loss, losses.vectors(variables)))

    def _track(self, branch, loss, correct):
        self.trackers[f"{branch}_loss"].update_state(loss)
        self.trackers[f"{branch}_accuracy"].update_state(ops.cast(correct, "float32"))

    def train_step(self, *args):
        return backend.train_step(self, super().train_step, *args)

    def finish_step(self, logs):
        """What follows the optimiser's step: equation (3), and the next step's learning rate in the logs."""
        self.momentum_encoder.update(self)
        tracker = self.trackers["learning_rate"]
        # A mean over one value, because replicas reduce metrics rightly and raw tensors not.
        tracker.reset_state()
        tracker.update_state(self.optimizer.learning_rate)
        return {**logs, "learning_rate": tracker.result()}

    def get_metrics_result(self):
        # The learning rate belongs to the optimiser's step: `finish_step` adds it, `evaluate` has none.
        return {k: v for k, v in super().get_metrics_result().items() if k != "learning_rate"}

    def fit(self, x=None, y=None, *args, callbacks=None, **kwargs):
        """As `keras.Model.fit` on batches of `((query_view, key_view), label)`.

        Adds a `MomentumEncoder` with the model's momentum when `callbacks` has none.

        Raises:
            ValueError: two `MomentumEncoder` callbacks, labels outside `[0, C)`, or no second view.
        """
        checks.optimizer(self.optimizer)
        x = checks.training_data(x, y, self.num_classes)
        callbacks, momentum_encoder = _with_momentum_encoder(callbacks, self.settings["momentum"])
        if momentum_encoder.momentum != self.momentum_encoder.momentum:
            # The compiled step holds m as a constant.
            self.train_function = None
        self.momentum_encoder = momentum_encoder
        with checks.readable_data_errors():
            return super().fit(x, y, *args, callbacks=callbacks, **kwargs)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **self.settings,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config):
        return cls(encoder=keras.saving.deserialize_keras_object(config.pop("encoder")), **config)


def _projection_head(features, hidden_dim, projection_dim, seed):
    """`h` of section III.B: Dense, ReLU, Dense; the L2 normalisation is in `EmoCo.call`."""
    seeds = (None, None) if seed is None else (seed + 1, seed + 2)
    return keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(
                hidden_dim, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(seeds[0])
            ),
            keras.layers.Dense(projection_dim, kernel_initializer=keras.initializers.GlorotUniform(seeds[1])),
        ],
        name="projection_head",
    )


def _frozen_copy(model):
    """A copy with the same weights that no optimiser touches and whose BatchNorm still trains.

    `layer.trainable = False` would put BatchNorm into inference mode, so the variables are frozen instead.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for variable in copy.variables:
        variable.trainable = False
    return copy


def _with_momentum_encoder(callbacks, momentum):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        present = callbacks.callbacks
    else:
        present = callbacks = list(keras.tree.flatten(callbacks)) if callbacks is not None else []
    found = [callback for callback in present if isinstance(callback, MomentumEncoder)]
    if len(found) > 1:
        raise ValueError(
            f"fit got {len(found)} MomentumEncoder callbacks, which would move the key encoder twice a step: "
            "pass one, or none for the model's own momentum"
        )
    if not found:
        found = [MomentumEncoder(momentum)]
        callbacks.append(found[0])
    return callbacks, found[0]
