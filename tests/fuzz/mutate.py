"""Ways to damage a file: any bytes, and such that the container around them stays whole.

Bytes changed at random in a zip or JSON are mostly refused by its checksum or syntax, and the code behind
never runs. So half of the mutations change a member, a value or a cell, and pack it up again.
"""

import csv
import io
import json
import warnings
import zipfile

import numpy as np

SIGNS = (b"\x00", b"\xff", b'"', b",", b"\n", b"\r", b"-1", b"9" * 20, b"nan", b"../", b"{", b"\xed\xa0\x80")
VALUES = (
    *(None, True, -1, 0, 7, 10**20, 10**400, 1e308, float("nan"), float("inf"), 0.5),
    *("", "x", "nan", "9" * 5000, "../../canary.txt", "/etc/passwd", "\ud800", "٣", "1e400"),
    *([], {}, [[]], [None], {"": None}, [1, 2, 3]),
)

COMMAND = "echo x > ../canary.txt"
PICKLE = f"cos\nsystem\n(S'{COMMAND}'\ntR.".encode()
CALLABLES = (
    *(("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("builtins", "exec")),
    *(("keras.layers", "Lambda"), ("keras.src.legacy.saving.legacy_h5_format", "load_model_from_hdf5")),
    *(("keras.utils", "get_file"), ("numpy", "load"), ("pickle", "loads"), ("keras_emoco", "EmoCo")),
)


def bytes_of(data, rng):
    """The bytes flipped, cut, filled, repeated, or with a sign put in."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        to = min(len(data), at + int(rng.integers(1, 40)))
        match rng.integers(0, 6):
            case 0 if at < len(data):
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del data[at:]
            case 2:
                del data[at:to]
            case 3:
                data[at:to] = bytes(to - at)
            case 4:
                data[at:at] = data[at:to]
            case _:
                data[at:at] = SIGNS[int(rng.integers(0, len(SIGNS)))]
    return bytes(data)


def json_of(data, rng):
    """A value somewhere inside exchanged for another, removed, or under another name."""
    tree = json.loads(data)
    places = list(_places(tree, []))
    holder, key = places[int(rng.integers(0, len(places)))] if places else (None, None)
    value = VALUES[int(rng.integers(0, len(VALUES)))]
    if holder is None:
        tree = value
    elif rng.integers(0, 4) == 0:
        del holder[key]
    elif isinstance(holder, dict) and rng.integers(0, 4) == 0:
        holder[str(value)[:50]] = holder.pop(key)
    else:
        holder[key] = value
    # A number of more digits than Python converts is written by hand.
    return json.dumps(tree).encode().replace(b'"' + b"9" * 5000 + b'"', b"9" * 5000)


def _places(tree, found):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value, found)


def json_lines_of(data, rng):
    """As `json_of`, in one of the lines."""
    lines = data.splitlines()
    at = int(rng.integers(0, len(lines)))
    lines[at] = json_of(lines[at], rng)
    return b"\n".join(lines) + b"\n"


def table_of(delimiter):
    """A function that exchanges a cell, or removes or doubles a cell or a row."""

    def mutate(data, rng):
        rows = list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))
        at = int(rng.integers(0, len(rows)))
        row = rows[at]
        match rng.integers(0, 6):
            case 0:
                del rows[at]
            case 1:
                rows.insert(at, list(row))
            case 2 if row:
                del row[int(rng.integers(0, len(row)))]
            case 3 if row:
                # More than a csv.reader takes in one cell.
                row[int(rng.integers(0, len(row)))] = "1 " * 70_000
            case _ if row:
                row[int(rng.integers(0, len(row)))] = str(VALUES[int(rng.integers(0, len(VALUES)))])[:4999]
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
        return text.getvalue().encode("utf-8", "surrogatepass")

    return mutate


def zip_of(inner):
    """A function that mutates a member of a zip by `inner[suffix]`, else its bytes, and packs it again."""

    def mutate(data, rng):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        names = sorted(members)
        chosen = names[int(rng.integers(0, len(names)))]
        suffix = chosen.rpartition(".")[2]
        change = inner.get(suffix, bytes_of) if rng.integers(0, 2) else bytes_of
        members[chosen] = change(members[chosen], rng)
        if rng.integers(0, 10) == 0:
            members.pop(names[int(rng.integers(0, len(names)))])
        if rng.integers(0, 20) == 0:
            members["../canary.txt"] = b"written"
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", methods[int(rng.integers(0, 2))]) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return packed.getvalue()

    return mutate


def safetensors_of(data, rng):
    """The header's JSON mutated under a length that fits it."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json_of(data[8:end], rng)
    return len(header).to_bytes(8, "little") + header + data[end:]


def pickle_of(data, rng):
    """Code instead of data."""
    return PICKLE


def objects_of(data, rng):
    """An `.npy` of Python objects, which are code."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + PICKLE


def layers_of(data, rng):
    """A layer of Keras's `config.json` exchanged for something else that can be imported and called."""
    tree = json.loads(data)
    named = [holder for holder, key in _places(tree, []) if key == "class_name"]
    if named:
        module, name = CALLABLES[int(rng.integers(0, len(CALLABLES)))]
        chosen = named[int(rng.integers(0, len(named)))]
        chosen.update(module=module, class_name=name, registered_name=None)
        chosen["config"] = {"function": "os.system", "command": COMMAND, "args": COMMAND, "name": "x"}
    return json.dumps(tree).encode()


def hdf5_of(data, rng):
    """A dataset of an HDF5 file exchanged for one of another kind, a link or nothing."""
    import h5py

    file = io.BytesIO(data)
    with h5py.File(file, "r+") as content, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = []
        content.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = names[int(rng.integers(0, len(names)))]
        shape = content[name].shape
        del content[name]
        match rng.integers(0, 7):
            case 0:
                content[name] = h5py.ExternalLink("../secret.h5", "secret")
            case 1:
                content[name] = h5py.SoftLink("/")
            case 2:
                content.create_dataset(name, shape, "f4", external=[("../canary.txt", 0, 2**20)])
            case 3:
                content[name] = np.full(shape, np.nan, "f4")
            case 4:
                content[name] = np.zeros((*shape, 2), "f4")
            case 5:
                content.create_dataset(name, (2**40,), "f4", chunks=(2**10,), compression="gzip")
            case _:
                content[name] = "text"
    return file.getvalue()


def any_of(*mutations):
    """One of them, each as often as another."""

    def mutate(data, rng):
        return mutations[int(rng.integers(0, len(mutations)))](data, rng)

    return mutate


def exchanged(old, new):
    """A function that puts something else where `old` is first."""

    def change(data):
        assert old in data
        return data.replace(old, new, 1)

    return change


def renamed(old, new):
    """A function that gives a member of a zip another name."""

    def change(data):
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(packed, "w") as copy:
            for info in archive.infolist():
                copy.writestr(new if info.filename == old else info.filename, archive.read(info))
        return packed.getvalue()

    return change


def rate_of_avi(data):
    """A header that states a frame in 4,000 seconds, with which no video can be written."""
    at = data.index(b"strh") + 28
    return data[:at] + (4_000_000).to_bytes(4, "little") + (1000).to_bytes(4, "little") + data[at + 8 :]
