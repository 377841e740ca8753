"""Alignment against numpy, Pillow, hand-computed points, and drawn faces with exact landmarks."""

import io
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_emoco import align
from keras_emoco.align import geometry
from tfds_builders.synthetic_faces.faces import sample_face
from tfds_builders.synthetic_faces.render import render
from tfds_builders.synthetic_faces.rig import landmarks, pose

ROOT = pathlib.Path(__file__).parents[2]
REAL_FACES = ROOT.parent / "shared" / "data" / "faces_au.zip"
MIRROR = [1, 0, 2, 4, 3]


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("mtcnn", reason="needs the extra keras-emoco[align]")
    return align.Detector()


@pytest.fixture(scope="module")
def drawn():
    """Ten faces that MTCNN takes for faces (it misses 1%), and their exact landmarks."""
    faces = [sample_face(subject, 0) for subject in range(11) if subject != 6]
    return [np.ascontiguousarray(render(face)) for face in faces], [landmarks(pose(face)) for face in faces]


def turned(points, degrees, scale, shift):
    a = scale * np.exp(1j * np.radians(degrees))
    moved = a * (points @ (1, 1j)) + complex(*shift)
    return np.stack([moved.real, moved.imag], axis=1)


def mirrored(points, width):
    return (points * (-1, 1) + (width, 0))[MIRROR]


# The similarity.


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1, (0, 0)), (33, 0.4, (7, -9)), (-170, 5, (300, 2))]
)
def test_similarity_recovers_a_known_one(degrees, scale, shift):
    source = np.random.default_rng(0).normal(size=(7, 2))
    matrix = align.similarity(source, turned(source, degrees, scale, shift))
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    np.testing.assert_allclose(matrix, [[cosine, -sine, shift[0]], [sine, cosine, shift[1]]], atol=1e-9)


@pytest.mark.parametrize("weights", [None, np.array([4.0, 4.0, 1.0, 1.0, 1.0])])
def test_similarity_is_the_least_squares_solution(weights):
    random = np.random.default_rng(1)
    source, target = random.normal(size=(2, 5, 2)) * 50
    x, y = source.T
    # u = a x - b y + c and v = b x + a y + d, in the unknowns a, b, c, d.
    rows = np.concatenate([np.stack([x, -y, x**0, 0 * x], 1), np.stack([y, x, 0 * x, x**0], 1)])
    root = np.sqrt(np.tile(np.ones(5) if weights is None else weights, 2))
    (a, b, c, d), *_ = np.linalg.lstsq(rows * root[:, None], target.T.ravel() * root)
    np.testing.assert_allclose(align.similarity(source, target, weights), [[a, -b, c], [b, a, d]], atol=1e-9)


def test_similarity_does_not_mirror():
    source = np.random.default_rng(2).normal(size=(5, 2))
    assert np.linalg.det(align.similarity(source, source * (-1, 1))[:, :2]) >= 0


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.zeros((5, 2)), np.eye(5, 2), "two distinct source points"),
        (np.eye(5, 2), np.eye(4, 2), r"\(5, 2\) and \(4, 2\)"),
        (np.eye(5, 2) * np.nan, np.eye(5, 2), "finite"),
    ],
)
def test_similarity_refuses(source, target, message):
    with pytest.raises(ValueError, match=message):
        align.similarity(source, target)


def test_similarity_refuses_weights_that_are_not_positive():
    with pytest.raises(ValueError, match="5 positive weights"):
        align.similarity(np.eye(5, 2), np.eye(5, 2), [1, 1, 1, 1, 0])


# The template and the crop.


def test_template_is_symmetric_and_leaves_room_in_the_central_224_pixels():
    np.testing.assert_allclose(mirrored(align.TEMPLATE, 256), align.TEMPLATE)
    eyes, mouth = align.TEMPLATE[:2, 1].mean(), align.TEMPLATE[3:, 1].mean()
    distance = align.TEMPLATE[1, 0] - align.TEMPLATE[0, 0]
    # Anthropometry (Farkas 1994, young adults): brows lie 0.45 and the chin 1.9 distances of the eyes (63 mm)
    # above and below them; a wide open jaw drops the chin by another 0.4.
    assert eyes - 0.45 * distance > 16 + 0.4 * distance
    assert eyes + 2.3 * distance < 240
    assert mouth - eyes > distance


def dots(shape, points, radius):
    """Soft dots at `points` on black; (0, 0) is the corner of the first pixel, whose centre is (0.5, 0.5)."""
    image = np.zeros(shape)
    for x, y in points:
        left, top = max(0, int(x - 4 * radius)), max(0, int(y - 4 * radius))
        rows, columns = np.mgrid[top : int(y + 4 * radius), left : int(x + 4 * radius)] + 0.5
        patch = image[top : top + rows.shape[0], left : left + rows.shape[1]]
        squares = ((rows - y) ** 2 + (columns - x) ** 2)[: patch.shape[0], : patch.shape[1]]
        patch += 255 * np.exp(-squares / (2 * radius**2))
    return np.repeat(np.minimum(image, 255).astype(np.uint8)[..., None], 3, axis=2)


def centre_of_dot(crop, point):
    x, y = (round(float(coordinate)) for coordinate in point)
    window = crop[y - 12 : y + 13, x - 12 : x + 13, 0].astype(float)
    rows, columns = np.mgrid[-12:13, -12:13] + 0.5
    return np.array(
        [(window * columns).sum() + window.sum() * x, (window * rows).sum() + window.sum() * y]
    ) / (window.sum())


@pytest.mark.parametrize("size", [256, 224])
@pytest.mark.parametrize("scale", [0.3, 0.8, 1.3, 2.6, 4.7, 9.0])
def test_crop_puts_the_landmarks_on_the_template(scale, size):
    random = np.random.default_rng(int(scale * 10))
    side = int(400 * scale)
    for degrees in (0, *random.uniform(-180, 180, 3)):
        points = turned(align.TEMPLATE - 128, degrees, scale, random.uniform(0.47, 0.53, 2) * side)
        cut = align.crop(dots((side, side), points, radius=3 * scale), points, size)
        assert cut.shape == (size, size, 3)
        assert cut.dtype == np.uint8
        for point in align.TEMPLATE * size / 256:
            assert np.abs(centre_of_dot(cut, point) - point).max() < 0.25, (degrees, point)


@pytest.mark.parametrize("scale", [1.7, 2.5, 3.9, 7.3])
def test_crop_averages_what_it_shrinks(scale):
    side = int(420 * scale)
    rows, columns = np.indices((side, side))
    checks = np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    points = turned(align.TEMPLATE - 128, 20, scale, (side / 2, side / 2))
    cut = align.crop(checks, points)[8:-8, 8:-8].astype(float)
    assert abs(cut.mean() - 127.5) < 2
    assert cut.std() < 12  # sampling gives 60 to 130


def test_crop_is_black_outside_the_image():
    image = np.full((100, 100, 3), 200, np.uint8)
    points = (align.TEMPLATE - 128) * 0.5 + 50  # the crop is the square from -14 to 114
    cut = align.crop(image, points)
    assert (cut[:26] == 0).all()
    assert (cut[:, 231:] == 0).all()
    assert (cut[30:226, 30:226] == 200).all()


def test_crop_of_the_mirrored_face_is_the_mirrored_crop(drawn):
    image, points = drawn[0][0], drawn[1][0]
    cut = align.crop(image, points).astype(int)
    flipped = align.crop(np.ascontiguousarray(image[:, ::-1]), mirrored(points, image.shape[1]))
    assert np.abs(cut[:, ::-1] - flipped).max() <= 2


@pytest.mark.parametrize(
    ("image", "points", "size", "message"),
    [
        (np.zeros((9, 9)), align.TEMPLATE, 256, "float64"),
        (np.zeros((9, 9), np.uint8), align.TEMPLATE, 256, r"\(9, 9\)"),
        (np.zeros((9, 9, 3), np.uint8), np.zeros((68, 2)), 256, "five_points"),
        (np.zeros((9, 9, 3), np.uint8), align.TEMPLATE, 0, "size"),
    ],
)
def test_crop_refuses(image, points, size, message):
    with pytest.raises(ValueError, match=message):
        align.crop(image, points, size)


# Five points of many.


def test_five_points_of_68_and_66():
    points = np.zeros((68, 2))
    points[36:42] = [(0, 5), (2, 3), (4, 3), (6, 5), (4, 7), (2, 7)]
    points[42:48] = [(10, 5), (12, 3), (14, 3), (16, 5), (14, 7), (12, 7)]
    points[30], points[48], points[54] = (8, 11), (3, 20), (13, 21)
    expected = [(3, 5), (13, 5), (8, 11), (3, 20), (13, 21)]
    np.testing.assert_allclose(align.five_points(points), expected)
    np.testing.assert_allclose(align.five_points(np.delete(points, [60, 64], axis=0)), expected)
    np.testing.assert_allclose(align.five_points(np.stack([points, points + 1]))[1], np.add(expected, 1))
    with pytest.raises(ValueError, match=r"\(51, 2\)"):
        align.five_points(points[17:])


# Reading pictures.


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def picture():
    """24 x 16, smooth so that JPEG keeps it, of another colour in each corner."""
    rows, columns = np.mgrid[0:16, 0:24]
    return np.stack([rows * 15, columns * 10, 255 - rows * 8 - columns * 5], axis=-1).astype(np.uint8)


def as_camera_stores(upright, orientation):
    """The pixels of which the EXIF standard says that `orientation` turns them upright (its figure 4.6.4)."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_turns_upright(picture, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(as_camera_stores(picture, orientation)))
    stored.save(tmp_path / "face.png", exif=exif)
    np.testing.assert_array_equal(align.read_image(tmp_path / "face.png"), picture)
    read = align.read_image(encoded(stored, "JPEG", quality=100, subsampling=0, exif=exif))
    assert np.abs(read.astype(int) - picture).max() < 12


def test_read_image_ignores_damaged_exif(picture):
    read = align.read_image(encoded(Image.fromarray(picture), "PNG", exif=b"Exif\0\0nonsense of some length"))
    np.testing.assert_array_equal(read, picture)


def test_read_image_keeps_the_range_of_16_bits():
    levels = np.array([[0, 257, 128 * 257, 65535], [100, 129, 65535 - 129, 300]], np.uint16)
    expected = np.array([[0, 1, 128, 255], [0, 1, 254, 1]], np.uint8)
    for data in (encoded(Image.fromarray(levels), "PNG"), encoded(Image.fromarray(levels), "TIFF")):
        read = align.read_image(data)
        np.testing.assert_array_equal(read, np.repeat(expected[..., None], 3, axis=2))


def test_read_image_of_grey_and_one_bit(picture):
    grey = Image.fromarray(picture[..., 0])
    np.testing.assert_array_equal(align.read_image(encoded(grey, "PNG"))[..., 2], picture[..., 0])
    bits = Image.fromarray(picture[..., 0] > 100)
    read = align.read_image(encoded(bits, "PNG"))
    np.testing.assert_array_equal(read[..., 1], np.where(picture[..., 0] > 100, 255, 0))


def test_read_image_of_palettes(picture):
    palette = Image.fromarray(picture).quantize(200, dither=Image.Dither.NONE)
    for file_format in ("PNG", "GIF"):
        read = align.read_image(encoded(palette, file_format))
        assert np.abs(read.astype(int) - picture).max() < 16


def test_read_image_makes_transparent_pixels_black(picture):
    alpha = np.zeros(picture.shape[:2], np.uint8)
    alpha[:, 8:] = 128
    alpha[:, 16:] = 255
    expected = np.rint(picture * (alpha[..., None] / 255.0)).astype(int)
    rgba = Image.fromarray(np.dstack([picture, alpha]))
    for file_format in ("PNG", "TIFF"):
        assert np.abs(align.read_image(encoded(rgba, file_format)) - expected).max() <= 1
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([200, 100, 50, 10, 20, 30])
    read = align.read_image(encoded(palette, "PNG", transparency=0))
    np.testing.assert_array_equal(read, [[[0, 0, 0], [10, 20, 30]]])


def test_read_image_of_cmyk(picture):
    data = encoded(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert np.abs(align.read_image(data).astype(int) - picture).max() < 12


def test_read_image_of_an_animation_is_its_first_frame(picture):
    first, second = Image.fromarray(picture[..., 0]), Image.fromarray(255 - picture[..., 0])
    read = align.read_image(encoded(first, "GIF", save_all=True, append_images=[second]))
    np.testing.assert_array_equal(read[..., 0], picture[..., 0])


def test_read_image_names_what_it_cannot_read(picture, tmp_path):
    with pytest.raises(FileNotFoundError):
        align.read_image(tmp_path / "absent.jpg")
    data = encoded(Image.fromarray(picture), "PNG")
    for name, content, message in (
        ("text.jpg", b"not a picture", "text.jpg: expected a picture.*b'not a pi'"),
        ("empty.jpg", b"", "empty.jpg: expected a picture; got 0 bytes"),
        ("short.png", data[: len(data) // 2], "short.png: .*copy it again"),
        ("float.tif", encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "float.tif: floats"),
        ("deep.tif", encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF"), "70000"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            align.read_image(tmp_path / name)


def test_read_image_refuses_decompression_bombs(picture, monkeypatch):
    data = encoded(Image.fromarray(picture), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 16 // 2 - 1)
    with pytest.raises(ValueError, match="MAX_IMAGE_PIXELS"):
        align.read_image(data)


# Faces.


def errors(found, exact):
    """Distances in shares of the distance of the eyes, `(faces, 5)`."""
    got, exact = np.array([faces[0].landmarks for faces in found]), np.array(exact)
    return np.linalg.norm(got - exact, axis=-1) / np.linalg.norm(exact[:, 0] - exact[:, 1], axis=1)[:, None]


def test_detector_finds_drawn_faces(detector, drawn):
    images, exact = drawn
    found = detector.detect(images)
    assert [len(faces) for faces in found] == [1] * len(images)
    assert np.median(errors(found, exact)) < 0.12
    for [face], points in zip(found, exact, strict=True):
        left, top, width, height = face.box
        assert 0 < face.confidence <= 1
        assert (points > (left, top)).all()
        assert (points < (left + width, top + height)).all()


def test_detector_gives_the_same_alone_and_in_a_batch(detector, drawn):
    images = [*drawn[0][:3], np.zeros((90, 128, 3), np.uint8), drawn[0][3][:, :120]]
    for image, faces in zip(images, detector.detect(images), strict=True):
        alone = detector(np.ascontiguousarray(image))
        assert len(alone) == len(faces)
        for one, other in zip(alone, faces, strict=True):
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-2)


@pytest.mark.parametrize(("width", "height"), [(12, 12), (40, 40), (700, 700), (3000, 1800)])
def test_detector_finds_tiny_and_huge_faces_in_pixels_of_the_picture(detector, drawn, width, height):
    images, exact = [], []
    for image, points in zip(*drawn, strict=True):
        side = min(width, height)
        scaled = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", (width, height), "gray")
        shift = (width - side, height - side)
        canvas.paste(scaled, shift)
        images.append(np.asarray(canvas))
        exact.append(points * side / image.shape[0] + shift)
    found = detector.detect(images)
    assert sum(map(bool, found)) >= 8
    kept = [i for i, faces in enumerate(found) if faces]
    assert np.median(errors([found[i] for i in kept], [exact[i] for i in kept])) < 0.2
    for i in kept:
        left, top, box_width, box_height = found[i][0].box
        centre = exact[i].mean(axis=0)
        assert (centre > (left, top)).all()
        assert (centre < (left + box_width, top + box_height)).all()


def test_detector_finds_faces_that_fill_the_picture(detector, drawn, monkeypatch):
    images, exact = [], []
    for image, points in zip(*drawn, strict=True):
        centre, reach = points.mean(axis=0), points[1, 0] - points[0, 0]
        left, top, right, bottom = np.concatenate([centre - reach, centre + reach]).astype(int)
        images.append(np.ascontiguousarray(image[top:bottom, left:right]))
        exact.append(points - (left, top))
    assert sum(map(bool, detector.detect(images))) >= 9  # without a margin 8
    # With the margin alone, which otherwise is for the few pictures in which nothing is found without it.
    monkeypatch.setattr(align.detector, "_MARGINS", (0.2,))
    found = detector.detect(images)
    kept = [i for i, faces in enumerate(found) if faces]
    assert len(kept) >= 5
    assert np.median(errors([found[i] for i in kept], [exact[i] for i in kept])) < 0.14


def test_detector_gives_the_largest_face_first(detector, drawn):
    small = Image.fromarray(drawn[0][0]).resize((100, 100))
    canvas = Image.new("RGB", (400, 260), "gray")
    canvas.paste(small, (0, 0))
    canvas.paste(Image.fromarray(drawn[0][1]).resize((250, 250)), (150, 10))
    faces = detector(np.asarray(canvas))
    assert len(faces) == 2
    assert faces[0].box[0] > 150 > 100 > faces[1].landmarks[:, 0].max()


def test_detector_finds_no_face_where_there_is_none(detector):
    noise = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)
    line = np.zeros((3, 500, 3), np.uint8)
    assert detector.detect([noise, np.zeros_like(noise), line]) == [[], [], []]
    assert detector.detect([]) == []
    with pytest.raises(ValueError, match="float32"):
        detector(noise.astype(np.float32))


def test_detector_is_mtcnn(detector, drawn):
    mtcnn = pytest.importorskip("mtcnn")
    if sys.modules["keras"].backend.backend() != "tensorflow":
        pytest.skip("the mtcnn package itself runs on Keras's TensorFlow backend only")
    image = drawn[0][0]
    [expected] = mtcnn.MTCNN().detect_faces(image)
    [face] = detector(image)
    np.testing.assert_allclose(face.confidence, expected["confidence"], rtol=1e-4)
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    # It rounds to pixels; its landmarks are not averaged with the mirror's.
    points = [expected["keypoints"][name] for name in names]
    assert np.abs(face.landmarks - points).max() < 3.5


@pytest.mark.skipif(not REAL_FACES.exists(), reason="the real faces are not on this machine")
def test_aligned_real_faces_have_their_eyes_on_the_template(detector):
    with zipfile.ZipFile(REAL_FACES) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::160]
        images = [align.read_image(archive.read(name)) for name in names]
    found = detector.detect(images)
    assert all(found)
    crops = [align.crop(image, faces[0].landmarks) for image, faces in zip(images, found, strict=True)]
    again = np.array([faces[0].landmarks for faces in detector.detect(crops)])
    distance = np.linalg.norm(again - align.TEMPLATE, axis=-1)
    assert (distance[:, :2] <= 4).mean() > 0.85
    assert np.abs((again - align.TEMPLATE)[:, :2].mean(axis=0)).max() < 1


# What is not installed.


def test_import_needs_no_extra():
    # None in sys.modules makes an import fail.
    code = (
        "import sys; sys.modules['mtcnn'] = sys.modules['cv2'] = None; "
        "import keras_emoco.align as a; print(a.TEMPLATE.shape, a.Detector, a.frames)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.startswith("(5, 2)"), result.stderr


def test_missing_packages_are_named_by_their_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"keras-emoco\[align\]"):
        align.Detector()
    with pytest.raises(ImportError, match=r"keras-emoco\[align\]"):
        next(align.frames(tmp_path / "clip.avi"))


# Videos and the contact sheet.


@pytest.fixture
def clip(tmp_path):
    """Twelve frames, frame n of red 20 n."""
    cv2 = pytest.importorskip("cv2", reason="needs the extra keras-emoco[align]")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(1, 13):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * number), np.uint8))
    writer.release()
    return path


def test_frames_are_numbered_from_one_and_rgb(clip):
    read = list(align.frames(clip, lambda number: number % 5 == 1))
    assert [number for number, _ in read] == [1, 6, 11]
    for number, image in read:
        assert image.shape == (48, 64, 3)
        assert np.abs(image.mean(axis=(0, 1)) - (20 * number, 0, 0)).max() < 4
    assert len(list(align.frames(clip))) == 12
    assert align.announced_frames(clip) == 12


def test_frames_refuse_what_is_no_video(tmp_path):
    pytest.importorskip("cv2", reason="needs the extra keras-emoco[align]")
    (tmp_path / "clip.avi").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"clip\.avi"):
        list(align.frames(tmp_path / "clip.avi"))
    with pytest.raises(FileNotFoundError):
        list(align.frames(tmp_path / "absent.avi"))
    assert align.announced_frames(tmp_path / "clip.avi") == 0


def test_contact_sheet_shows_template_and_failures():
    grey, red = np.full((256, 256, 3), 90, np.uint8), np.full((10, 10, 3), (255, 0, 0), np.uint8)
    sheet = np.asarray(align.contact_sheet([grey] * 9, [("face.jpg", red), ("lost.jpg", None)]))
    assert sheet.shape[1] == 8 * 128
    green = (sheet == (0, 255, 0)).all(axis=-1)
    for corner in ((0, 0), (7 * 128, 0), (0, 128)):
        for x, y in align.TEMPLATE / 2 + corner:
            assert green[int(y), int(x)]
    assert not green[128:256, 128:].any()
    assert (sheet[256:] == (255, 0, 0)).all(axis=-1).sum() == 100
    assert geometry.SIZE == 256
