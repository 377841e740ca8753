"""A picture of aligned faces and of what was not aligned, to look at before anything is trained on them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_emoco.align.geometry import SIZE, TEMPLATE

_CELL, _CAPTION, _COLUMNS = 128, 14, 8  # pixels, pixels, cells


def contact_sheet(
    crops: Sequence[np.ndarray], failures: Sequence[tuple[str, np.ndarray | None]] = ()
) -> Image.Image:
    """Draws aligned faces with the points of `TEMPLATE`, then what failed with its captions.

    Args:
        crops: uint8 `(size, size, 3)` each.
        failures: caption and image of each, uint8 `(height, width, 3)`, or None where there is none to show.

    Returns:
        RGB image, `_COLUMNS` faces in a row.
    """
    rows, failed_rows = -(-len(crops) // _COLUMNS), -(-len(failures) // _COLUMNS)
    height = rows * _CELL + failed_rows * (_CELL + _CAPTION) + (_CAPTION if failures else 0)
    sheet = Image.new("RGB", (_COLUMNS * _CELL, max(height, _CELL)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, crop in enumerate(crops):
        x, y = place % _COLUMNS * _CELL, place // _COLUMNS * _CELL
        sheet.paste(Image.fromarray(crop).resize((_CELL, _CELL), Image.Resampling.LANCZOS), (x, y))
        for point in TEMPLATE * (_CELL / SIZE) + (x, y):
            draw.ellipse((*(point - 1.5), *(point + 1.5)), fill="lime")
    if failures:
        draw.text((4, rows * _CELL + 1), f"not aligned ({len(failures)} shown):", "black")
    for place, (caption, image) in enumerate(failures):
        x, y = place % _COLUMNS * _CELL, place // _COLUMNS * (_CELL + _CAPTION) + rows * _CELL + _CAPTION
        if image is not None:
            picture = Image.fromarray(image)
            picture.thumbnail((_CELL, _CELL))
            sheet.paste(picture, (x, y))
        # Six pixels a letter; the end of a path tells more than its beginning.
        letters = _CELL // 6
        text = caption if len(caption) <= letters else "..." + caption[3 - letters :]
        draw.text((x + 2, y + _CELL + 1), text.encode("ascii", "replace").decode(), "black")
    return sheet
