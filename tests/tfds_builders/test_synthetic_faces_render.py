"""The drawings of SyntheticFaces as pixels: what moves where, and what lies under the landmarks."""

import dataclasses
import hashlib
import io
import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tfds_builders.synthetic_faces import contact_sheet
from tfds_builders.synthetic_faces.faces import Face, plain_face, sample_face
from tfds_builders.synthetic_faces.render import encode, render
from tfds_builders.synthetic_faces.rig import landmarks, pose
from tfds_builders.synthetic_faces.shapes import ACTION_UNITS, spline

# People without glasses, beard or fringe, light and dark.
PEOPLE = [
    subject
    for subject in range(60)
    for identity in [plain_face(subject, {}).identity]
    if not identity.glasses and not identity.beard and identity.hair_style in ("short", "bald", "long")
][:8]

# Where FACS says the change is to be seen: rows (top, bottom) and columns as distance from the midline
# (near, far), in pixels of a plain face: eyes at row 59, nose tip at 75, mouth at 91, chin at 119.
REGIONS = {
    1: (20, 56, 0, 25),
    2: (20, 58, 8, 42),
    4: (34, 62, 0, 36),
    5: (44, 68, 4, 30),
    6: (48, 88, 4, 44),
    7: (46, 70, 4, 30),
    9: (40, 88, 0, 26),
    10: (64, 98, 0, 24),
    12: (64, 106, 0, 40),
    15: (80, 114, 0, 30),
    17: (78, 122, 0, 24),
    20: (78, 106, 0, 42),
    23: (80, 102, 0, 24),
    24: (78, 108, 0, 26),
    25: (82, 108, 0, 24),
    26: (80, 128, 0, 40),
}

# Pairs that coders confuse.
NEIGHBOURS = (
    (1, 2),
    (6, 7),
    (9, 10),
    (12, 20),
    (12, 6),
    (15, 17),
    (23, 24),
    (25, 26),
    (4, 9),
    (17, 24),
    (5, 7),
)


# Of faces 0 of persons 0, 10, 20 and 1000.
MEANS = [[116.3, 91.63, 76.0], [159.04, 137.35, 108.21], [164.62, 138.86, 129.08], [136.27, 128.08, 108.66]]


def shown(subject: int, units: dict[int, int]) -> np.ndarray:
    return render(plain_face(subject, units)).astype(float).mean(-1)


def change(subject: int, unit: int, intensity: int = 3) -> np.ndarray:
    """What the action unit changes in the grey image; AU 26 is added to parted lips, as in the data set."""
    base = {25: 2} if unit == 26 else {}
    return shown(subject, {**base, unit: intensity}) - shown(subject, base)


def posed(face: Face, **shot) -> Face:
    return dataclasses.replace(face, shot=dataclasses.replace(face.shot, **shot))


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_action_unit_changes_its_own_region(unit):
    top, bottom, near, far = REGIONS[unit]
    rows, columns = np.mgrid[:128, :128] + 0.5
    across = np.abs(columns - 64)
    region = (rows > top) & (rows < bottom) & (across >= near) & (across < far)
    energy = np.mean([change(subject, unit) ** 2 for subject in PEOPLE], axis=0)
    assert energy[region].sum() > 0.85 * energy.sum()
    assert energy[region].mean() > 20 * energy[~region].mean()
    # A tenth of the region changes by eight grey levels or more: a person sees that.
    assert np.quantile(energy[region], 0.9) > 8**2


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_more_intensity_changes_more_and_a_trace_little(unit):
    sizes = [np.mean([np.abs(change(subject, unit, i)).sum() for subject in PEOPLE]) for i in range(1, 6)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.62 * sizes[1]


@pytest.mark.parametrize(("first", "second"), NEIGHBOURS)
def test_neighbouring_action_units_look_different(first, second):
    def small(image):  # to 64 x 64, as a small network sees it
        return image.reshape(64, 2, 64, 2).mean((1, 3)).ravel()

    cosines = []
    for subject in PEOPLE:
        a, b = small(change(subject, first)), small(change(subject, second))
        cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert np.mean(cosines) < 0.6


@pytest.mark.parametrize("angles", [(0, 0, 0), (15, 0, 0), (-15, 0, 0), (0, 10, 0), (0, -10, 0), (12, 6, 12)])
def test_pupils_lie_under_the_eye_landmarks(angles):
    yaw, pitch, roll = angles
    for subject in PEOPLE:
        face = posed(plain_face(subject, {}), yaw=yaw, pitch=pitch, roll=roll)
        grey = render(face).astype(float).mean(-1)
        for x, y in landmarks(pose(face))[:2]:
            column, row = int(x), int(y)
            eye = grey[row - 2 : row + 3, column - 2 : column + 3]
            cheek = grey[row + 12 : row + 15, column - 1 : column + 2]
            assert eye.min() < 45
            assert eye.mean() < cheek.mean()


def test_mouth_corners_lie_between_lip_and_skin():
    for subject in PEOPLE:
        for units in ({}, {12: 4}, {15: 4}, {23: 4}):
            face = posed(plain_face(subject, units), roll=8.0, yaw=6.0)
            pixels = render(face).astype(float)
            red = pixels[..., 0] / (pixels[..., 1] + 1)
            for side, (x, y) in enumerate(landmarks(pose(face))[3:]):
                inwards = 1 if side == 0 else -1
                lip = red[int(y) - 2 : int(y) + 4, int(x + 4 * inwards)].max()
                skin = red[int(y) - 2 : int(y) + 4, int(x - 4 * inwards)].max()
                assert lip > 1.15 * skin, (subject, units, side)


def test_landmarks_follow_the_camera():
    face = plain_face(PEOPLE[0], {})
    front = landmarks(pose(face))
    left_eye, right_eye, nose, left_corner, right_corner = front
    middle = np.mean([left_eye, right_eye, left_corner, right_corner], axis=0)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_corner[1]
    # The nose stands out: a turn to the right takes it further right than the eyes, a nod further down.
    turned, nodded = landmarks(pose(posed(face, yaw=15.0))), landmarks(pose(posed(face, pitch=10.0)))
    assert turned[2, 0] - nose[0] > turned[:2, 0].mean() - front[:2, 0].mean() > 0
    assert nodded[2, 1] - nose[1] > nodded[[3, 4], 1].mean() - front[[3, 4], 1].mean() > 0
    # Roll is a rotation about the centre of the head, clockwise in the image.
    angle = np.radians(10)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rolled = landmarks(pose(posed(face, roll=10.0)))
    np.testing.assert_allclose(rolled, (front - face.shot.centre) @ rotation.T + face.shot.centre, atol=1e-3)
    # Twice the scale, twice the distances.
    doubled = landmarks(pose(posed(face, scale=2 * face.shot.scale)))
    np.testing.assert_allclose(doubled[1] - doubled[0], 2 * (right_eye - left_eye), atol=1e-3)
    assert np.abs(middle - face.shot.centre).max() < 20


def test_lids_and_lips_never_cross():
    for units in (
        {7: 5, 6: 5},
        {24: 5, 17: 5},
        {23: 5, 24: 5, 10: 5},
        {10: 5, 17: 5, 25: 1},
        {26: 5, 25: 2, 17: 5},
    ):
        for subject in PEOPLE:
            rig = pose(plain_face(subject, units))
            lips = [
                rig.lip(name)[1:-1, 1]
                for name in ("upper_outer", "upper_inner", "lower_inner", "lower_outer")
            ]
            assert all((below - above > -1e-6).all() for above, below in itertools.pairwise(lips))
            for side in (0, 1):
                assert (rig.side("lid_lower", side) - rig.side("lid_upper", side))[:, 1].min() > 1


def test_asymmetry_makes_one_side_stronger():
    face = plain_face(PEOPLE[0], {2: 4})
    face = dataclasses.replace(face, identity=dataclasses.replace(face.identity, asymmetry=0.2))
    still = landmarks_of_brow(dataclasses.replace(face, intensities=(0,) * 16))
    left, right = still - landmarks_of_brow(face)
    assert right == pytest.approx(left * 1.2 / 0.8, rel=1e-6)


def landmarks_of_brow(face: Face) -> np.ndarray:
    rig = pose(face)
    return np.array([rig.side("brow_upper", side)[3, 1] for side in (0, 1)])


def test_edges_are_anti_aliased():
    bald = next(s for s in range(60) if plain_face(s, {}).identity.hair_style == "bald")
    grey = render(posed(plain_face(bald, {}), background=((0.0, 0.0, 0.0),) * 9)).astype(float).mean(-1)
    edges = [row[np.argmax(row > 3) :] for row in grey[10:55]]
    assert np.mean([0.08 * edge[2] < edge[0] < 0.8 * edge[2] for edge in edges]) > 0.6


def test_occlusion_stays_small_and_off_the_centre():
    for occlusion in ("hand", "microphone", "strand"):
        for side in (0, 1):
            face = posed(plain_face(PEOPLE[0], {}), occlusion=occlusion, occlusion_side=side)
            hidden = np.abs(render(face).astype(float) - render(posed(face, occlusion=""))).max(-1) > 12
            inside = hidden[30:120, 24:104]
            assert 0.005 < inside.mean() < 0.17, occlusion
            assert not hidden[60:80, 60:68].any()
            half = hidden[:, :64] if side == 0 else hidden[:, 64:]
            assert half.sum() > 0.9 * hidden.sum()


def test_same_pixels_in_another_process():
    code = (
        "import hashlib; from tfds_builders.synthetic_faces.faces import sample_face;"
        "from tfds_builders.synthetic_faces.render import render;"
        "print(hashlib.sha256(b''.join(render(sample_face(s, 3)).tobytes() for s in (7, 5, 6))).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    here = {s: render(sample_face(s, 3)).tobytes() for s in (5, 6, 7)}
    assert there == hashlib.sha256(here[7] + here[5] + here[6]).hexdigest()


def test_pictures_have_not_drifted():
    # Mean colours; loose enough for another Pillow or libm, not for another drawing.
    means = [render(sample_face(subject, 0)).mean((0, 1)) for subject in (0, 10, 20, 1000)]
    np.testing.assert_allclose(means, MEANS, atol=0.5)


def test_jpeg_keeps_the_picture():
    pixels = render(sample_face(3, 1))
    with Image.open(io.BytesIO(encode(pixels, 90))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (128, 128))
        assert np.abs(np.asarray(image).astype(float) - pixels).mean() < 5


def test_noise_differs_between_photographs():
    first, second = (sample_face(4, index) for index in (0, 1))
    clean = posed(first, noise=0.0)
    noise = render(posed(first, noise=3.0)).astype(float) - render(clean)
    assert noise.std() == pytest.approx(3, abs=0.2)
    other = render(posed(dataclasses.replace(first, index=second.index), noise=3.0)).astype(float) - render(
        clean
    )
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.05


def test_fast_enough_to_build_in_minutes():
    faces = [sample_face(subject, 0) for subject in range(60)]
    render(faces[0])
    start = time.process_time()
    for face in faces:
        encode(render(face), face.shot.quality)
    assert (time.process_time() - start) / len(faces) < 0.025  # about 0.004 on an idle core


@pytest.mark.parametrize("closed", [False, True])
def test_spline_passes_through_its_points_and_keeps_lines_straight(closed):
    points = np.array([(0, 0), (1, 2), (3, 3), (4, 0), (5, 5.0)])
    curve = spline(5, 4, closed) @ points
    np.testing.assert_allclose(curve[::4], points)
    line = np.arange(6.0)[:, None] * (2, 1)
    np.testing.assert_allclose((spline(6, 4) @ line)[4:-4], np.arange(1, 4.01, 0.25)[:, None] * (2, 1))


def test_contact_sheet_is_written_whole_and_small(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["contact_sheet", str(path)])
    contact_sheet.main()
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    assert path.stat().st_size < 400_000
    with Image.open(path) as image:
        assert image.size == (72 + 8 * 96, 7 * 96 + 4 * (96 + 14))
