"""Pictures with the box of each face and bars of its action units beside it. Not for finding either."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainers.predictor import Face

# A picture of fewer pixels is enlarged, lest the bars be too small to read.
_READABLE = 480
_PRESENT, _ABSENT, _BOX = "#ff9d2e", "#7fa7c9", "#40ff80"
_TRACK = (255, 255, 255, 50)  # what a bar of 1 would fill


def annotated(image: np.ndarray, faces: Sequence[Face], names: Sequence[str]) -> Image.Image:
    """Draws each face's box with its number, and a bar for each action unit; a bar of 1 fills its row.

    The picture gets a strip on its right, so that there is space beside every face, and sides that are even,
    as video needs. Two pictures of one size stay of one size.

    Args:
        image: uint8 `(height, width, 3)`.
        faces: found in it, with `A` probabilities each.
        names: of the `A` action units.

    Returns:
        RGB image, enlarged by a whole number where `image` is small.
    """
    height, width = image.shape[:2]
    scale = max(1, round(_READABLE / height))
    height, width = height * scale, width * scale
    row = max(1, height // max(len(names) + 2, 30))
    panel = 9 * row, len(names) * row
    canvas = Image.new("RGB", (_even(width + panel[0] + 2 * row), _even(height)))
    canvas.paste(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    draw = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(max(1, round(0.8 * row)))
    boxes = [_inside(face.place.box, scale, width, height) for face in faces]
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True)):
        draw.rectangle(box, outline=_BOX, width=max(1, row // 8))
        draw.text((box[0] + row // 4, box[1]), str(number), _BOX, font)
        others = boxes[:number] + boxes[number + 1 :]
        _bars(draw, _beside(box, panel, row // 2, canvas.size, others), row, face.probabilities, names, font)
    return canvas


def _even(side):
    return side + side % 2


def _inside(box, scale, width, height):
    """Left, top, right, bottom of a box, cut off where the picture ends."""
    left, top = (max(0, scale * corner) for corner in box[:2])
    right, bottom = scale * (box[0] + box[2]), scale * (box[1] + box[3])
    # A face that lies outside keeps one pixel of a box.
    left, top = min(left, width - 1), min(top, height - 1)
    return left, top, max(left, min(right, width - 1)), max(top, min(bottom, height - 1))


def _beside(box, panel, gap, size, others):
    """Left and top of a panel beside a box, on the side where it hides less of other faces."""
    top = max(0, min(box[1], size[1] - panel[1]))
    places = [(box[2] + gap, top), (box[0] - gap - panel[0], top)]
    places = [place for place in places if place[0] >= 0]
    return min(places, key=lambda place: sum(_overlap(place, panel, other) for other in others))


def _overlap(place, panel, box):
    shared = [min(place[axis] + panel[axis], box[axis + 2]) - max(place[axis], box[axis]) for axis in (0, 1)]
    return max(0, shared[0]) * max(0, shared[1])


def _bars(draw, place, row, probabilities, names, font):
    left, top = place
    draw.rectangle((left, top, left + 9 * row - 1, top + len(names) * row - 1), fill=(0, 0, 0, 170))
    for name, probability in zip(names, probabilities, strict=True):
        color = _PRESENT if probability >= 0.5 else _ABSENT
        start, middle = left + 3 * row, top + row / 2
        draw.text((left + row // 4, middle), name, color, font, anchor="lm")
        draw.text((left + 7 * row + row // 4, middle), f"{100 * probability:.0f}", color, font, anchor="lm")
        for length, fill in ((4 * row, _TRACK), (round(4 * row * float(probability)), color)):
            if length:
                corners = start, top + row // 5, start + length - 1, top + row - row // 5 - 1
                draw.rectangle(corners, fill=fill)
        top += row
