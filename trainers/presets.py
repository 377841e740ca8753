"""Recipes. Each is one `Preset`; every value is a flag of `trainers.pretrain` of the same name."""

import dataclasses


def _field(default, text):
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Preset:
    """Section IV.B of the paper exactly, and so the defaults: about 280,000 faces of AffectNet, 7 emotions.

    Expected (Tables I to III, linear protocol): average F1 of 53.0 on GFT, 53.3 on DISFA, 59.3 on BP4D.
    """

    dataset: str = _field(
        "affectnet/csv_7_aligned", "TFDS name of the expression-labelled faces, as given to tfds.load"
    )
    split: str = _field("train", "split to train on, in TFDS's notation: 'train', 'train[:5000]'")
    encoder: str = _field("resnet50", "resnet18, resnet34, resnet50, resnet101 or alexnet")
    image_size: int = _field(224, "side of the encoder's input in pixels")
    center_crop: bool = _field(True, "evaluate on the central 224/256 of the picture, not the whole")
    batch_size: int = _field(256, "faces in one optimiser step, over all replicas")
    epochs: int = _field(200, "passes over the data")
    base_learning_rate: float = _field(0.03, "learning rate at a batch of 256; cosine to zero")
    optimizer: str = _field("sgd", "sgd, the paper's, or adamw")
    sgd_momentum: float = _field(0.9, "momentum of SGD")
    weight_decay: float = _field(1e-4, "sgd: L2 term of the gradient; adamw: decoupled; on all weights")
    queue_size: int = _field(65536, "K, keys in each queue")
    momentum: float = _field(0.999, "m of equation (3), the key encoder's momentum")
    temperature: float = _field(0.2, "tau of equation (5)")
    emotion_weight: float = _field(1.0, "lambda of equation (1); 0 drops the emotion branch")
    contrastive_weight: float = _field(1.0, "weight of the contrastive loss; 0 drops that branch")
    dictionary: str = _field("per_class", "per_class, or shared: one queue for all emotions (no MQ)")
    normalization: str = _field("intra_class", "intra_class, equation (4), or l2 (no N)")
    prototype_norm: float = _field(
        0.0, "length of the emotion prototypes at the start; 0: as Glorot has them, about 1.4"
    )
    key_statistics: str = _field(
        "batch",
        "of the key encoder's BatchNorm: batch, its own, or moving, those of the query encoder (EMAN)",
    )
    projection_dim: int = _field(128, "numbers in an embedding")
    hidden_dim: int = _field(2048, "units of the projection head's hidden layer")
    crop_scale_min: float = _field(0.2, "least share of the picture's area in a random crop")


PRESETS = {
    "paper": Preset(),
    # The main job of the README, built-in faces in ten minutes on two cores. AdamW, long prototypes and mild
    # crops, because else the emotion branch predicts the most frequent emotion for most of so short a run.
    "demo": Preset(
        dataset="synthetic_faces",
        encoder="resnet18",
        image_size=48,
        center_crop=False,
        batch_size=64,
        epochs=2,
        optimizer="adamw",
        base_learning_rate=0.002,
        prototype_norm=8.0,
        emotion_weight=2.0,
        queue_size=1024,
        momentum=0.99,
        crop_scale_min=0.5,
    ),
    # Real faces on two cores: FER2013 in an hour. docs/results.md has how it was found and what it gives.
    "small": Preset(
        dataset="fer2013",
        encoder="resnet18",
        image_size=48,
        center_crop=False,
        batch_size=64,
        epochs=8,
        optimizer="adamw",
        base_learning_rate=0.002,
        prototype_norm=8.0,
        emotion_weight=4.0,
        queue_size=512,
        momentum=0.99,
        crop_scale_min=0.5,
    ),
}
