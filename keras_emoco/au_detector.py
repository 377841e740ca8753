"""The action unit classifier on top of an encoder, for the linear and the finetuning protocol.

Not a program: `trainers.evaluate` has the folds, the scores and the tables.
"""

import keras
import numpy as np
from keras import ops

from keras_emoco import backend, checks, losses
from keras_emoco.metrics import F1PerActionUnit


@keras.saving.register_keras_serializable("keras_emoco")
class AUDetector(keras.Model):
    """An encoder and one logistic unit for each action unit (section IV.C of the paper).

    `frozen=True` is the linear protocol, `frozen=False` the finetuning protocol. The loss is binary
    cross-entropy, its mean over the coded entries of the batch: `compile` needs an optimizer alone. The logs
    of `fit` have `loss` and the F1 of each unit and their average (`keras_emoco.metrics.F1PerActionUnit`).

    Args:
        encoder: `keras.Model` from images to `(batch, features)`. Not copied: `frozen=True` makes it
            untrainable.
        action_units: numbers of the `A` units, in the order of the labels' columns.
        frozen: True to train the classifier alone, BatchNorm and dropout of the encoder in inference mode.
        positive_weights: `A` numbers: how much more a present unit weighs in the loss than an absent one,
            for instance absent / present frames of the training data. None for equally.

    Calling the model on images gives a dict of `logits` and `probabilities`, both `(B, A)`. Training takes
    batches of `(images, labels)`; labels `(B, A)` are 1 present, 0 absent, NaN or any negative number not
    coded.

    Example:
    ```python
    detector = keras_emoco.AUDetector(model.encoder, action_units=(1, 2, 4), frozen=False)
    detector.compile(keras_emoco.optimizers.sgd(learning_rate=0.01))
    detector.fit(images, labels, batch_size=64, epochs=5)
    probabilities = detector.predict(test_images)["probabilities"]
    ```

    Raises:
        ValueError: an argument is outside its range, the encoder does not end in a vector, or images or
            labels have another shape.
    """

    def __init__(
        self,
        encoder: keras.Model,
        action_units=(1, 2, 4),
        frozen: bool = True,
        positive_weights=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        checks.ends_in_features(encoder)
        _check_units(action_units, positive_weights)
        if frozen:
            encoder.trainable = False
        elif not encoder.trainable_variables:
            raise ValueError(
                "frozen=False trains the encoder, and this one has no trainable variable (an earlier "
                "AUDetector froze it?): set encoder.trainable = True, or load it anew"
            )
        self.action_units = tuple(int(unit) for unit in action_units)
        self.frozen = frozen
        self.positive_weights = None if positive_weights is None else tuple(map(float, positive_weights))
        self.encoder = encoder
        self.classifier = keras.layers.Dense(len(self.action_units), dtype="float32", name="classifier")
        self.classifier.build((None, encoder.output_shape[-1]))
        self.f1 = F1PerActionUnit(self.action_units)
        self.built = True

    def fit(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.fit` on batches of `(images, labels)`.

        Raises:
            ValueError: arrays of labels above 1, such as intensities; in a dataset they make the loss NaN.
        """
        if y is not None:
            checks.occurrence(keras.ops.convert_to_numpy(y))
        return super().fit(x, y, *args, **kwargs)

    def call(self, images, training=None):
        expected = self.encoder.input_shape
        if len(images.shape) != len(expected) or any(
            None not in (want, got) and want != got
            for want, got in zip(expected[1:], images.shape[1:], strict=True)
        ):
            raise ValueError(
                f"the encoder takes images of shape {expected}; got {tuple(images.shape)}: make the images "
                "that large, or build the encoder with another image_size"
            )
        features = self.encoder(images, training=training and not self.frozen)
        logits = self.classifier(features)
        return {"logits": logits, "probabilities": ops.sigmoid(logits)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if y is None:
            raise ValueError("AUDetector trains on batches of (images, labels); these have no labels")
        if tuple(y.shape[1:]) != (len(self.action_units),):
            raise ValueError(
                f"labels must have shape (batch, {len(self.action_units)}), one column for each of "
                f"action_units={self.action_units}; got {tuple(y.shape)}"
            )
        loss, weights = losses.action_unit_loss(y_pred["logits"], y, self.positive_weights)
        if sample_weight is not None:
            frame_weights = ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
            loss, weights = loss * frame_weights, weights * frame_weights
        loss = ops.divide_no_nan(ops.sum(loss), ops.sum(weights))
        # The images too, for a frozen encoder keeps no statistics of them.
        watched = [x, *losses.vectors([*self.encoder.variables, *self.classifier.variables])]
        return backend.scale_loss(losses.nan_unless_finite(loss, watched))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.f1.update_state(y, y_pred["probabilities"], sample_weight)
        return super().compute_metrics(x, y, y_pred["probabilities"], sample_weight)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "action_units": list(self.action_units),
            "frozen": self.frozen,
            "positive_weights": self.positive_weights,
        }

    @classmethod
    def from_config(cls, config):
        return cls(encoder=keras.saving.deserialize_keras_object(config.pop("encoder")), **config)


def _check_units(action_units, positive_weights):
    checks.action_units(action_units)
    if positive_weights is None:
        return
    if np.ndim(positive_weights) != 1 or len(positive_weights) != len(action_units):
        raise ValueError(
            f"positive_weights must be {len(action_units)} positive numbers, one for each action unit; got "
            f"{positive_weights!r:.99}"
        )
    for weight in positive_weights:
        checks.number("each of positive_weights", weight, "a positive number", lambda weight: weight > 0)
