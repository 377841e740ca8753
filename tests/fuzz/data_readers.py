"""The readers of `tfds_builders` and a small file for each: lists, tables, arrays, archives, videos."""

import csv
import functools
import gzip
import io
import json
import tarfile
import zipfile

import mutate
import numpy as np
import scipy.io
from PIL import Image
from program import Reader, with_constant

from tfds_builders import archives, folds, places, sequences, videos
from tfds_builders.action_unit_folder import table
from tfds_builders.affectnet import affectnet_dataset_builder as affectnet
from tfds_builders.bp4d import labels as bp4d
from tfds_builders.disfa import disfa_dataset_builder as disfa
from tfds_builders.disfa import labels as disfa_labels
from tfds_builders.disfa import landmarks as disfa_landmarks
from tfds_builders.disfa import layout as disfa_layout
from tfds_builders.fer2013 import ferplus, images, layout
from tfds_builders.gft import labels as gft
from tfds_builders.rafdb import rafdb_dataset_builder as rafdb

PACKED = {f"{i}.txt": bytes(range(256)) * i for i in range(1, 5)}
UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
FRAMES = 6
INT64 = 2**63


def picture(kind, seed=0):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).resize((48, 48)).save(file, kind)
    return file.getvalue()


def text(rows, delimiter=","):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def npy(value):
    file = io.BytesIO()
    np.save(file, np.array(value))
    return file.getvalue()


def matlab(seed, compressed):
    file = io.BytesIO()
    points = np.random.default_rng(seed).uniform(0, 48, (66, 2))
    scipy.io.savemat(file, {"pts": points}, do_compression=compressed)
    return file.getvalue()


def zipped(files, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), {"comment": "ä"}
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def video(path):
    import cv2

    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (48, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 48, 3), 20 * number, np.uint8))
    writer.release()


def files():
    """Name -> bytes of all but the videos."""
    landmarks = ";".join(str(float(i)) for i in range(136))
    affect = ["7/a.jpg", 1, 2, 40, 40, landmarks, 3, 0.5, -0.5]
    human = {
        "human-label": 3,
        "meta-data": {"valence": 0.5, "arousal": -0.5, "landmark-68": [[1.0, 2.0]] * 68},
    }
    pixels = " ".join("7" for _ in range(48 * 48))
    found = {
        "units/au.csv": text(
            [["file", "subject", "AU1", "AU12", "frame"]]
            + [[f"{i}.jpg", "p", i % 2, "", i] for i in range(9)]
        ),
        **{f"units/{i}.jpg": b"x" for i in range(9)},
        "csv_tree/training.csv": text([list(affectnet.csv_tree.COLUMNS), affect]),
        "csv_tree/7/a.jpg": picture("JPEG"),
        "npy/train_set/images/7.jpg": picture("JPEG"),
        "npy/train_set/annotations/7_exp.npy": npy("3"),
        "npy/train_set/annotations/7_val.npy": npy(0.25),
        "npy/train_set/annotations/7_lnd.npy": npy(np.arange(136.0)),
        "json/train_set/images/7.jpg": picture("JPEG"),
        "json/train_set/annotations/7.json": json.dumps(human).encode(),
        "rafdb/list_patition_label.txt": b"train_00001.jpg 5\ntrain_00002.jpg 4\ntest_0001.jpg 7\n",
        "rafdb/original/train_00001.jpg": picture("JPEG"),
        "rafdb/manual/train_00001_manu_attri.txt": b"10 20\n30\t20\n20 30\n12 40\n28 40\n1\n2\n",
        "rafdb/boundingbox/train_00001_boundingbox.txt": b"1.5 2.5 40.5 41.5\n",
        "fer2013/fer2013.csv": text([["emotion", "pixels", "Usage"], [3, pixels, "Training"]]),
        "ferplus/fer2013new.csv": text(
            [
                ["Usage", "Image name", *ferplus.VOTES],
                ["Training", "1.png", *range(10)],
                ["PublicTest", "", *[1] * 10],
            ]
        ),
        "bp4d/F001_T1.csv": text([range(100), *([n, *[n % 2] * 98, 0] for n in range(5, 9))]),
        "bp4d/F001_T1_AU06.csv": text([[n, n % 6] for n in range(5, 9)]),
        "gft/001A.csv": text(
            [["frame", *(f"AU{u}" for u in UNITS)]] + [[n, *[n % 2] * 11, 9] for n in range(1, 6)]
        ),
        **{
            f"disfa/SN001_au{u}.txt": text([[n, n % 6] for n in range(1, FRAMES + 1)])
            for u in disfa_labels.ACTION_UNITS
        },
        "landmarks/SN001_0000_lm.mat": matlab(0, False),
        "landmarks/compressed_lm.mat": matlab(0, True),
        "images/a.jpg": picture("JPEG"),
        **{f"images/a.{kind.lower()}": picture(kind) for kind in ("PNG", "GIF", "BMP", "TIFF", "WEBP")},
        "archives/deflate.zip": zipped(PACKED),
        "archives/lzma.zip": zipped(PACKED, zipfile.ZIP_LZMA),
        "archives/bzip2.zip": zipped(PACKED, zipfile.ZIP_BZIP2),
        "archives/plain.tar": tarred(PACKED),
        "archives/packed.tar.gz": gzip.compress(tarred(PACKED)),
        "folds.tsv": folds.TABLE.read_bytes(),
        "untracked.tsv": disfa_labels.UNTRACKED.read_bytes(),
    }
    return found


def make(root):
    for name, data in files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    video(root / "disfa" / "LeftVideoSN001_comp.avi")
    video(root / "disfa" / "clip.mp4")


def opened(path, read):
    with archives.open_archive(path) as archive:
        return read(archive)


def fer2013_rows(archive):
    copy = layout.Copy(archive.path, "fer2013.csv")
    rows = images.list_rows(archive, copy.member, "train")
    return [images.read(archive, row, copy).example for row in rows]


def with_reader(read):
    with places.Reader() as reader:
        return read(reader)


def affect(root, layout, member):
    """The examples of one split as they would be stored."""

    def read(archive):
        listed = affectnet.list_images(archive, layout, member, 11, "")
        return [
            frame.example
            for frame in sequences.frames(
                archive, listed, functools.partial(affectnet.read_image, aligner=None)
            )
        ]

    return opened(root, read)


def right_affect(examples):
    return all(
        e is None
        or (
            0 <= e["expression"] <= 10
            and not abs(e["valence"]) > 1
            and not abs(e["arousal"]) > 1
            and np.isfinite(e["landmarks"]).all() == np.isfinite(e["landmarks"]).any()
        )
        for e in examples
    )


def faces_of_rafdb(root):
    def read(archive):
        listed = rafdb.list_images(archive, "list_patition_label.txt", "train", "original")
        return [
            f.example
            for f in sequences.frames(archive, listed, functools.partial(rafdb.read_image, aligner=None))
        ]

    return opened(root, read)


def right_rafdb(examples):
    def whole(points):
        return np.isfinite(points).all() or np.isnan(points).all()

    return all(
        e is None or (1 <= e["expression"] <= 7 and whole(e["landmarks"]) and whole(e["face_box"]))
        for e in examples
    )


def right_codes(frames):
    """Of occurrence: 0 and 1, for frames that int64 can number."""
    return all(0 < n < INT64 and set(codes[0].tolist()) <= {0, 1} for n, codes in frames.items())


def right_units(result):
    units, examples = result
    return units and all(
        set(e["action_units"]["occurrence"].tolist()) <= {0, 1} and 0 <= e["frame"] < INT64
        for e in examples.values()
    )


def right_intensities(frames):
    return all(0 < n < INT64 and values.max() <= 5 for n, (values, _) in frames.items())


def subject_of_disfa(root):
    place = lambda name: places.Place(root / name)  # noqa: E731
    labels = {u: place(f"SN001_au{u}.txt") for u in disfa_labels.ACTION_UNITS}
    subject = disfa_layout.Subject("SN001", place("LeftVideoSN001_comp.avi"), labels, None)
    return list(disfa.read_subject(subject, None, False))


def right_packed(result):
    # A name may be another; a file may be gone from the list or, by its size there, be empty, which Python
    # does not check; no reader takes an empty file. Its bytes are never others.
    return set(result.values()) <= {b"", *PACKED.values()}


def right_tar(result):
    # A tar has no checksum of its files: any bytes, but no more than the archive has.
    return sum(map(len, result.values())) <= 2**16


def everything(archive):
    return {name: archive.read(name) for name in archive.names}


def long_cell(data):
    """With a row more, of one cell; a quotation mark too many makes one of the rest of a file."""
    return data + b"1 " * 70_000 + b"\n"


DIGITS = b"9" * 5000  # More than Python converts.


def unknown_type(data):
    """SciPy ended the process at a type of data that the format does not have."""
    return data.replace(b"pts\0\x09", b"pts\0\x89")


def readers(root):
    cells, values = (
        mutate.any_of(mutate.bytes_of, mutate.table_of(",")),
        mutate.any_of(mutate.bytes_of, mutate.json_of),
    )
    arrays = mutate.any_of(*[mutate.bytes_of] * 9, mutate.objects_of)
    tabs = mutate.any_of(mutate.bytes_of, mutate.table_of("\t"))
    words = mutate.any_of(mutate.bytes_of, mutate.table_of(" "))
    place = lambda name: places.Place(root / name)  # noqa: E731

    def reader(name, file, read, right, change=mutate.bytes_of, **more):
        return Reader(name, root / file, read, right, change, **more)

    yield reader(
        "action_unit_folder CSV",
        "units/au.csv",
        lambda: opened(root / "units", lambda a: table.read(a, "au.csv")),
        right_units,
        cells,
        known=(
            long_cell,
            mutate.exchanged(b",0\n", b"," + DIGITS + b"\n"),
            mutate.exchanged(b"AU12", b"AU" + DIGITS),
        ),
    )
    yield reader(
        "AffectNet CSV",
        "csv_tree/training.csv",
        lambda: affect(root / "csv_tree", "csv", "training.csv"),
        right_affect,
        cells,
        known=(
            long_cell,
            mutate.exchanged(b",40,", b",1e300,"),
            mutate.exchanged(b",40,", b",3e9,"),
        ),
    )
    for kind in ("exp", "val", "lnd"):
        yield reader(
            f"AffectNet {kind}.npy",
            f"npy/train_set/annotations/7_{kind}.npy",
            lambda: affect(root / "npy", "npy", "train_set"),
            right_affect,
            arrays,
        )
    yield reader(
        "AffectNet JSON",
        "json/train_set/annotations/7.json",
        lambda: affect(root / "json", "json", "train_set"),
        right_affect,
        values,
        known=(
            mutate.exchanged(b": 3", b": 1" + b"0" * 400),
            mutate.exchanged(b": 3", b": " + DIGITS),
            mutate.exchanged(b"[1.0,", b"[1" + b"0" * 400 + b","),
        ),
    )
    yield reader(
        "RAF-DB list",
        "rafdb/list_patition_label.txt",
        lambda: faces_of_rafdb(root / "rafdb"),
        right_rafdb,
        words,
    )
    yield reader(
        "RAF-DB landmarks",
        "rafdb/manual/train_00001_manu_attri.txt",
        lambda: faces_of_rafdb(root / "rafdb"),
        right_rafdb,
        words,
        known=(
            mutate.exchanged(b"10", b"nan"),
            mutate.exchanged(b"10", b"1e39"),
        ),
    )
    yield reader(
        "RAF-DB box",
        "rafdb/boundingbox/train_00001_boundingbox.txt",
        lambda: faces_of_rafdb(root / "rafdb"),
        right_rafdb,
        words,
        known=(mutate.exchanged(b"1.5", b"inf"),),
    )
    yield reader(
        "FER2013 CSV",
        "fer2013/fer2013.csv",
        lambda: opened(root / "fer2013", fer2013_rows),
        lambda rows: all(
            row["image"].shape == (48, 48, 1) and row["emotion"] in layout.EMOTIONS for row in rows
        ),
        cells,
        share=0.5,
        known=(
            long_cell,
            mutate.exchanged(b"7 7", b"7 \xff"),
        ),
    )
    yield reader(
        "FER+ CSV",
        "ferplus/fer2013new.csv",
        lambda: ferplus.read(root / "ferplus", "fer2013new.csv"),
        lambda rows: all(len(row.votes) == 10 for row in rows),
        cells,
        known=(long_cell,),
    )
    yield reader(
        "BP4D occurrence CSV",
        "bp4d/F001_T1.csv",
        lambda: with_reader(
            lambda r: {
                n: (c.occurrence, c.coded)
                for n, c in bp4d.read_occurrence(r, place("bp4d/F001_T1.csv")).items()
            }
        ),
        right_codes,
        cells,
        known=(
            long_cell,
            mutate.exchanged(b"\n5,", b"\n" + DIGITS + b","),
            mutate.exchanged(b",99", b"," + DIGITS),
        ),
    )
    yield reader(
        "BP4D intensity CSV",
        "bp4d/F001_T1_AU06.csv",
        lambda: with_reader(lambda r: bp4d.read_intensity(r, {6: place("bp4d/F001_T1_AU06.csv")})),
        right_intensities,
        cells,
        known=(
            long_cell,
            mutate.exchanged(b"5,", DIGITS + b","),
        ),
    )
    yield reader(
        "GFT CSV",
        "gft/001A.csv",
        lambda: with_reader(lambda r: gft.read(r, place("gft/001A.csv"), UNITS, None)),
        right_codes,
        cells,
        known=(
            long_cell,
            mutate.exchanged(b"\n1,", b"\n" + DIGITS + b","),
            mutate.exchanged(b"AU24", b"AU24,AU" + DIGITS),
        ),
    )
    labels = {u: place(f"disfa/SN001_au{u}.txt") for u in disfa_labels.ACTION_UNITS}
    yield reader(
        "DISFA labels txt",
        "disfa/SN001_au4.txt",
        lambda: with_reader(lambda r: disfa_labels.read(r, labels)),
        right_intensities,
        cells,
        known=(mutate.exchanged(b"1,", DIGITS + b","),),
    )
    for name in ("SN001_0000_lm", "compressed_lm"):
        yield reader(
            f"DISFA {name}.mat",
            f"landmarks/{name}.mat",
            functools.partial(
                with_reader, lambda r, name=name: disfa_landmarks.read(r, place(f"landmarks/{name}.mat"))
            ),
            lambda points: points.shape == (66, 2),
            known=(unknown_type,),
        )
    for kind in ("jpg", "png", "gif", "bmp", "tiff", "webp"):
        yield reader(
            f"image {kind}",
            f"images/a.{kind}",
            lambda kind=kind: opened(root / "images", lambda a: a.read_any_image(f"a.{kind}")),
            lambda result: Image.open(io.BytesIO(result[0])).size >= (1, 1),
        )
    inner = {"txt": mutate.bytes_of}
    for name in ("deflate", "lzma", "bzip2"):
        yield reader(
            f"{name} zip",
            f"archives/{name}.zip",
            functools.partial(opened, root / f"archives/{name}.zip", everything),
            right_packed,
            known=(lambda data: data[:60] + b"\xff" * 8 + data[68:],),
        )
    yield reader(
        "zip repacked",
        "archives/deflate.zip",
        functools.partial(opened, root / "archives/deflate.zip", everything),
        lambda r: True,
        mutate.zip_of(inner),
        named=("deflate.zip",),
    )
    yield reader(
        "tar",
        "archives/plain.tar",
        functools.partial(opened, root / "archives/plain.tar", everything),
        right_tar,
    )
    yield reader(
        "tar.gz",
        "archives/packed.tar.gz",
        functools.partial(opened, root / "archives/packed.tar.gz", everything),
        right_tar,
    )
    yield reader(
        "tar.gz repacked",
        "archives/packed.tar.gz",
        functools.partial(opened, root / "archives/packed.tar.gz", everything),
        right_tar,
        lambda data, rng: gzip.compress(mutate.bytes_of(gzip.decompress(data), rng)),
    )
    yield reader(
        "DISFA video avi",
        "disfa/LeftVideoSN001_comp.avi",
        lambda: subject_of_disfa(root / "disfa"),
        lambda frames: len(frames) in (FRAMES, FRAMES + 1),
        share=0.5,
    )
    yield reader(
        "video mp4",
        "disfa/clip.mp4",
        lambda: list(videos.frames(root / "disfa/clip.mp4")),
        lambda frames: all(f.ndim == 3 and f.dtype == np.uint8 for f in frames),
        share=0.5,
    )
    yield reader(
        "folds.tsv",
        "folds.tsv",
        lambda: with_constant(
            folds, "TABLE", root / "folds.tsv", lambda: [folds.read(d) for d in ("bp4d", "disfa", "gft")]
        ),
        lambda parts: all(parts),
        tabs,
        known=(
            long_cell,
            mutate.exchanged(b"subjects", b"people"),
            mutate.exchanged(b"F001", b"\xff"),
        ),
    )
    yield reader(
        "untracked.tsv",
        "untracked.tsv",
        lambda: with_constant(
            disfa_labels,
            "UNTRACKED",
            root / "untracked.tsv",
            lambda: disfa_labels.untracked.__wrapped__("SN002"),
        ),
        lambda ranges: isinstance(ranges, tuple),
        tabs,
        known=(
            long_cell,
            mutate.exchanged(b"420", b"x"),
            mutate.exchanged(b"first", b"1st"),
        ),
    )
