"""The picture of the README: faces of each expression, and every action unit absent and present.

python -m tfds_builders.synthetic_faces.contact_sheet OUT.png
"""

import argparse
import dataclasses
import itertools
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.synthetic_faces.expressions import EXPRESSIONS
from tfds_builders.synthetic_faces.faces import Face, plain_face, sample_face
from tfds_builders.synthetic_faces.render import IMAGE_SIZE, render
from tfds_builders.synthetic_faces.shapes import ACTION_UNITS

NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
}

_MARGIN = 72  # left of the rows of expressions, pixels
_CAPTION = 14  # above each action unit, pixels


def contact_sheet(
    faces_per_expression: int = 8, cell: int = 96, intensity: int = 3, subject: int = 3
) -> Image.Image:
    """Draws the sheet: a row for each expression, then a pair of faces for each action unit.

    Args:
        faces_per_expression: faces in a row, each another person; an even number.
        cell: side of a face in pixels.
        intensity: of the action unit in the right face of each pair; the left one has it at 0.
        subject: the person who shows the action units.

    Returns:
        RGB image.
    """
    pairs = faces_per_expression // 2
    unit_rows = -(-len(ACTION_UNITS) // pairs)
    width = _MARGIN + faces_per_expression * cell
    sheet = Image.new("RGB", (width, len(EXPRESSIONS) * cell + unit_rows * (cell + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, expression in enumerate(EXPRESSIONS):
        draw.text((6, row * cell + cell // 2 - 6), expression, "black")
        for column, face in enumerate(_people(expression, faces_per_expression)):
            sheet.paste(_picture(face, cell), (_MARGIN + column * cell, row * cell))
    for place, unit in enumerate(ACTION_UNITS):
        x = _MARGIN + place % pairs * 2 * cell
        y = len(EXPRESSIONS) * cell + place // pairs * (cell + _CAPTION)
        draw.text((x + 4, y + 1), f"AU {unit} {NAMES[unit]}", "black")
        for side, shown in enumerate((0, intensity)):
            # AU 26 alone would drop the jaw of a closed mouth.
            units = {25: min(shown, 2), unit: shown} if unit == 26 else {unit: shown}
            sheet.paste(_picture(plain_face(subject, units), cell), (x + side * cell, y + _CAPTION))
    return sheet


def _people(expression: str, count: int) -> list[Face]:
    """The first face with the expression of each of the first people who have one."""
    found = []
    for subject in itertools.count():
        faces = (sample_face(subject, index) for index in range(20))
        face = next((face for face in faces if face.expression == expression), None)
        if face is not None:
            found.append(face)
        if len(found) == count:
            return found


def _picture(face: Face, cell: int) -> Image.Image:
    # Noise does not compress, and a README should load quickly.
    quiet = dataclasses.replace(face, shot=dataclasses.replace(face.shot, noise=0.0))
    image = Image.fromarray(np.ascontiguousarray(render(quiet)))
    return image if cell == IMAGE_SIZE else image.resize((cell, cell), Image.Resampling.LANCZOS)


def main() -> None:
    """Writes the sheet to the path given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=pathlib.Path, help="image to write; the suffix decides its format")
    path = parser.parse_args().path
    partial = path.with_name(f"partial-{path.name}")
    sheet = contact_sheet()
    if path.suffix == ".png":  # a palette halves the bytes; quantize() dithers only to a palette it is given
        sheet = sheet.quantize(palette=sheet.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
    sheet.save(partial, optimize=True)
    partial.replace(path)


if __name__ == "__main__":
    main()
