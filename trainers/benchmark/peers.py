"""What the benchmark compares with: plain PyTorch, torchvision and PIL, nothing of this library.

Each public function but `torchvision` and `features` prepares one case and gives `(run, work)`, as `emoco`
does.
"""

import copy
import dataclasses
import io
import pathlib

import numpy as np
import safetensors.torch
import torch
from PIL import Image, ImageFilter
from torch import nn
from torch.nn import functional

from trainers import presets
from trainers.benchmark import data

_LIBRARIES = []  # torch forgets what is declared when the library object goes


def product(side: int):
    """The machine's rate of float32 arithmetic."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    return lambda: float((a @ b)[0, 0]), 2.0 * side**3


def plain_head(batch: int, classes: int, size: int, dim: int):
    """Equations (4) and (5) class by class, each queue normalised as it is written; then enqueue."""
    return _head(_plain_negatives, batch, classes, size, dim)


def einsum_head(batch: int, classes: int, size: int, dim: int):
    """All classes at once: the one-hot label masks the query in front of every class's normalised queue."""
    return _head(_einsum_negatives, batch, classes, size, dim)


def _head(negatives, batch, classes, size, dim, temperature=0.2):
    arrays = {k: torch.from_numpy(v) for k, v in data.head(batch, classes, size, dim).items()}
    queries, keys, labels = arrays["queries"].requires_grad_(), arrays["keys"], arrays["labels"].long()
    queues = arrays["queues"].transpose(1, 2).contiguous()  # (C, D, K), as MoCo's buffer is
    pointers = torch.zeros(classes, dtype=torch.long)

    def run():
        w = functional.normalize(arrays["prototypes"], dim=-1)
        q, k = (functional.normalize(x - w[labels], dim=-1) for x in (queries, keys))
        positives = (q * k).sum(-1, keepdim=True)
        logits = torch.cat([positives, negatives(q, labels, queues, w)], dim=1) / temperature
        loss = functional.cross_entropy(logits, torch.zeros(batch, dtype=torch.long))
        queries.grad = None
        loss.backward()
        for label in range(classes):
            new = keys[labels == label]
            slots = (pointers[label] + torch.arange(len(new))) % size
            queues[label][:, slots] = new.T
            pointers[label] = (pointers[label] + len(new)) % size
        return loss.item()

    return run, 4.0 * batch * size * dim


def _plain_negatives(queries, labels, queues, prototypes):
    result = queries.new_empty(len(queries), queues.shape[2])
    for label in labels.unique():
        keys = functional.normalize(queues[label] - prototypes[label, :, None], dim=0)
        result[labels == label] = queries[labels == label] @ keys
    return result


def _einsum_negatives(queries, labels, queues, prototypes):
    masked = functional.one_hot(labels, len(queues)).float()[:, :, None] * queries[:, None]
    keys = functional.normalize(queues.clone() - prototypes[:, :, None], dim=1)
    return torch.einsum("bcd,cdk->bk", masked, keys)


def moco_step(preset: str, channels_last: bool, **changes):
    """One step of MoCo v2 (arXiv:2003.04297) with the encoder, sizes and optimiser of a preset."""
    settings = dataclasses.replace(presets.PRESETS[preset], **changes)
    resnet = getattr(torchvision().models, settings.encoder)()
    width = resnet.fc.in_features
    hidden = nn.Linear(width, settings.hidden_dim)
    resnet.fc = nn.Sequential(hidden, nn.ReLU(), nn.Linear(settings.hidden_dim, settings.projection_dim))
    order = torch.channels_last if channels_last else torch.contiguous_format
    query = resnet.to(memory_format=order)
    key = copy.deepcopy(query).requires_grad_(False)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.SGD
    more = {} if settings.optimizer == "adamw" else {"momentum": settings.sgd_momentum}
    optimizer = kind(query.parameters(), lr=1e-4, weight_decay=settings.weight_decay, **more)
    queue = functional.normalize(torch.randn(settings.projection_dim, settings.queue_size), dim=0)
    shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
    x_q, x_k = (torch.randn(shape).to(memory_format=order) for _ in range(2))
    place = 0

    def run():
        nonlocal place
        q = functional.normalize(query(x_q), dim=1)
        with torch.no_grad():
            for theta_k, theta_q in zip(key.parameters(), query.parameters(), strict=True):
                theta_k.mul_(settings.momentum).add_(theta_q, alpha=1.0 - settings.momentum)
            k = functional.normalize(key(x_k), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.clone()], dim=1) / settings.temperature
        loss = functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        queue[:, (place + torch.arange(len(k))) % settings.queue_size] = k.T
        place = (place + len(k)) % settings.queue_size
        return loss.item()

    return run, settings.batch_size


def input(face_size: int, image_size: int, count: int, rounds: int, kind: str):
    """MoCo v2's augmentation: `"pil"` as its code has it, or torchvision's `"tensor"` transforms."""
    torchvision()
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    files = data.faces(count, face_size)
    sigma = tuple(s * image_size / 224 for s in (0.1, 2.0))
    # Taps that reach three sigma, as in this library.
    taps = 2 * int(np.ceil(3 * sigma[1])) + 1
    blur = _PILBlur(sigma) if kind == "pil" else v2.GaussianBlur(taps, sigma)
    transform = v2.Compose(
        [
            *([] if kind == "pil" else [v2.PILToTensor()]),
            v2.RandomResizedCrop(image_size, scale=(0.2, 1.0), antialias=True),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([blur], p=0.5),
            v2.RandomHorizontalFlip(),
            *([v2.PILToTensor()] if kind == "pil" else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    def run():
        for _ in range(rounds):
            views = []
            for file in files:
                face = Image.open(io.BytesIO(file)).convert("RGB")
                views.append((transform(face), transform(face)))
            query, key = (torch.stack(view) for view in zip(*views, strict=True))
        return float(query[0, 0, 0, 0] + key[0, 0, 0, 0])

    return run, count * rounds


class _PILBlur:
    """The blur of MoCo v2's code."""

    def __init__(self, sigma):
        self.sigma, self.rng = sigma, np.random.default_rng(0)

    def __call__(self, image):
        return image.filter(ImageFilter.GaussianBlur(radius=self.rng.uniform(*self.sigma)))


def torchvision():
    """The library, also where its compiled operators do not fit the PyTorch beside it: none is used."""
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        _LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            _LIBRARIES[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


def features(encoder: str, path: pathlib.Path):
    """From views `(n, size, size, 3)` to features, by torchvision's ResNet with the weights in a file."""
    network = torchvision().models.get_model(encoder)
    network.fc = nn.Identity()
    network.load_state_dict(safetensors.torch.load_file(path))
    network.eval()

    def run(images):
        with torch.inference_mode():
            return network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return run
