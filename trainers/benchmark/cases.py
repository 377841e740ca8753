"""What the benchmark compares: names, backends and sizes. Nothing here computes.

A `Case` is prepared and run in a process of its own, because Keras has one backend in a process.
"""

import dataclasses

BACKENDS = ("tensorflow", "jax", "torch")


@dataclasses.dataclass(frozen=True)
class Case:
    """One contender.

    Attributes:
        name: in tables and plots.
        prepare: `"module.function"` in `trainers.benchmark`; called with `options`, it gives what is timed.
        options: arguments of `prepare`.
        backend: Keras's, of the process.
        one_core: run the process on one core.
    """

    name: str
    prepare: str
    options: dict
    backend: str = "torch"
    one_core: bool = False


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Cases measured in turn; ratios are to the first.

    Attributes:
        title: what is compared, with its sizes.
        unit: what `work` of a case counts, per call: `"flop"` or `"images"`.
        cases: the contenders.
    """

    title: str
    unit: str
    cases: tuple[Case, ...]


def head(backends: tuple[str, ...], quick: bool) -> list[Comparison]:
    """The contrastive head: against its peers, over the number of classes, over the size of the queues."""
    sizes = {"batch": 16, "size": 256, "dim": 16} if quick else {"batch": 256, "size": 65536, "dim": 128}
    keys = (64, 128) if quick else (4096, 16384, 65536, 262144)
    product = Case("float32 product", "peers.product", {"side": 64 if quick else 2048})

    def ours(backend, name=None, **options):
        return Case(name or f"EmoCo, {backend}", "emoco.head", {**sizes, **options}, backend)

    def peer(name, function, classes):
        options = {**sizes, "classes": classes}
        return Case(name, f"peers.{function}", options)

    text = "batch {batch}, K {size}, D {dim}".format(**sizes)
    against_peers = Comparison(
        f"head: {text}, 7 classes",
        "flop",
        (
            *(ours(backend, classes=7) for backend in backends),
            peer("plain formula, PyTorch", "plain_head", 7),
            peer("masked einsum, PyTorch", "einsum_head", 7),
            product,
        ),
    )
    per_backend = []
    for backend in backends:
        classes = tuple(ours(backend, f"{n} classes", classes=n) for n in (7, 28))
        per_backend.append(Comparison(f"head, {backend}: classes; {text}", "flop", classes))
        queues = tuple(ours(backend, f"K {n}", classes=7, **{"size": n}) for n in keys)
        per_backend.append(Comparison(f"head, {backend}: size of the queues; 7 classes", "flop", queues))
    return [against_peers, *per_backend]


def step(backends: tuple[str, ...], quick: bool) -> list[Comparison]:
    """The whole step: against its encoder alone, and against a PyTorch MoCo v2 with the same encoder."""
    recipes = {"demo step": {"preset": "demo"}, "paper step": {"preset": "paper", "batch_size": 16}}
    if quick:
        recipes = {"demo step": {"preset": "demo", "image_size": 32, "batch_size": 4, "queue_size": 64}}
    comparisons = []
    for title, options in recipes.items():
        peers = tuple(
            Case(name, "peers.moco_step", {**options, "channels_last": last})
            for name, last in (("MoCo v2, PyTorch", False), ("MoCo v2, PyTorch, channels last", True))
        )
        steps = tuple(
            Case(f"EmoCo, {backend}", "emoco.step", {**options, "part": "whole"}, backend)
            for backend in backends
        )
        comparisons.append(Comparison(f"{title}: against MoCo v2", "images", (*steps, *peers)))
        for backend in backends:
            names = {
                "encoder": "encoder alone",
                "whole": "EmoCo",
                "optimizer": "encoder and optimiser",
                "momentum": "momentum update alone",
                "enqueue": "enqueue alone",
            }
            cases = tuple(
                Case(name, "emoco.step", {**options, "part": part}, backend) for part, name in names.items()
            )
            comparisons.append(Comparison(f"{title}: parts, {backend}", "images", cases))
    return comparisons


def input(backends: tuple[str, ...], quick: bool) -> list[Comparison]:
    """JPEG bytes to two views on one core; tf.data runs it whatever the backend."""
    settings = {"256-pixel faces to 224": (256, 224, 16), "128-pixel faces to 48": (128, 48, 64)}
    comparisons = []
    for title, (face_size, image_size, rounds) in settings.items():
        options = {"face_size": face_size, "image_size": image_size}
        options |= {"count": 4, "rounds": 1} if quick else {"count": 64, "rounds": rounds}
        cases = [Case("EmoCo, tf.data", "emoco.input", options, "tensorflow", one_core=True)]
        for name, kind in (("torchvision, PIL images", "pil"), ("torchvision, tensors", "tensor")):
            peer = {**options, "kind": kind}
            cases.append(Case(name, "peers.input", peer, one_core=True))
        comparisons.append(Comparison(f"input: {title}, one core", "images", tuple(cases)))
    return comparisons


def export(backends: tuple[str, ...], quick: bool) -> list[Comparison]:
    """Each exported format, read by the program it is for; TensorFlow writes them whatever the backend."""
    settings = [("resnet18", 32, 2)] if quick else [("resnet18", 64, 16), ("resnet50", 224, 4)]
    formats = {
        "SavedModel, TensorFlow": "tf_saved_model",
        ".keras, predict_on_batch": "keras",
        "ONNX, ONNX Runtime": "onnx",
        "LiteRT, one thread": "litert",
        "LiteRT, int8, one thread": "litert",
        "safetensors, torchvision": "torch",
    }
    comparisons = []
    for encoder, size, count in settings:
        options = {"encoder": encoder, "image_size": size, "count": count}
        cases = tuple(
            Case(
                title, "inference.exported", {**options, "name": name, "int8": "int8" in title}, "tensorflow"
            )
            for title, name in formats.items()
        )
        comparisons.append(Comparison(f"export: {encoder}, {count} views of {size} pixels", "images", cases))
    return comparisons


def predict(backends: tuple[str, ...], quick: bool) -> list[Comparison]:
    """`trainers.predict` on pictures and on a video, and what of it each part takes; on TensorFlow."""
    encoder, size, count = ("resnet18", 32, 2) if quick else ("resnet50", 224, 4)
    options = {"encoder": encoder, "image_size": size, "count": count}
    parts = {
        "pictures": "pictures",
        "video": "a video",
        "find": "faces found alone",
        "align": "faces aligned alone",
        "network": "detector alone",
        "draw": "bars drawn alone",
    }
    cases = tuple(
        Case(title, "inference.predicted", {**options, "part": part}, "tensorflow")
        for part, title in parts.items()
    )
    return [
        Comparison(
            f"predict: {count} pictures of 640 x 480, a face each, {encoder} at {size}", "images", cases
        )
    ]


PARTS = {"head": head, "step": step, "input": input, "export": export, "predict": predict}
