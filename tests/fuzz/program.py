"""`python program.py GROUP COUNT [READER]`: mutated files, read one by one in a process that may die.

A program of `test_fuzz.py`. Prints for each reader how many files it refused and read, and a line for
each finding: an error that is not ours or does not name the file, a wrong result, a crash, a hang, a file
elsewhere that is touched, code that runs. Exits with 1 if there is one.
"""

import importlib
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SECONDS = 60  # for one file, on a machine that does other things too
MEMORY = 8 << 30  # bytes more than before that a reader of these small files may ask for
OURS = (ValueError, OSError, KeyError)
# What a reader of data has no business with, as Python's audit hooks call it.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.truncate", "os.symlink", "os.link")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Reader(NamedTuple):
    """What is fuzzed.

    Attributes:
        name: of the row in the table.
        file: that is mutated, inside the directory that is watched.
        read: reads it.
        right: whether what it returned can be right.
        mutate: from bytes and a generator to bytes.
        named: what an error must hold one of; without it the file's name.
        share: of the count, for what takes long.
        writes: files that reading may write, relative to the directory.
        known: what once ended otherwise: functions of the file's bytes, read each time before the others.
    """

    name: str
    file: pathlib.Path
    read: Callable
    right: Callable
    mutate: Callable
    named: tuple[str, ...] = ()
    share: float = 1.0
    writes: tuple[str, ...] = ()
    known: tuple[Callable, ...] = ()


class Touched(BaseException):
    """A reader reached for something; none catches this."""


def watch(root):
    """Have Python's hooks raise at what no reader may do; returns the list of what was done."""
    mine, touched = (f"{root}/", f"{tempfile.gettempdir()}/tmp", "/dev/null"), []

    def hook(event, arguments):
        wrong = event.startswith(FORBIDDEN)
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            # A temporary file without a name is opened by the name of its directory.
            mine_or_unnamed = (
                (*mine, tempfile.gettempdir()) if arguments[0] == tempfile.gettempdir() else mine
            )
            wrong = (arguments[2] or 0) & WRITES and not _path(arguments[0]).startswith(mine_or_unnamed)
        elif event in CHANGES and not isinstance(arguments[0], int):
            wrong = not _path(arguments[0]).startswith(mine)
        if wrong:
            touched.append(f"{event} {arguments!r:.200}")
            raise Touched(touched[-1])

    sys.addaudithook(hook)
    return touched


def _path(name):
    return os.path.abspath(os.fsdecode(name))


def listing(root, but):
    """Path, size and time of change of the files below a directory, but for some."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        if not path.is_dir() and str(path.relative_to(root)) not in but:
            found[path] = status.st_size, status.st_mtime_ns
    return found


def read_one(reader, root, data, touched):
    """`("refused" or "read", "")`, or `("finding", what)`."""
    reader.file.write_bytes(data)
    but = {str(reader.file.relative_to(root)), *reader.writes}
    before = listing(root, but)
    touched.clear()
    try:
        result = reader.read()
        outcome = ("read", "") if reader.right(result) else ("finding", f"wrong result {result!r:.300}")
    except OURS as error:
        outcome = ("refused", "")
        if not any(name in str(error) for name in reader.named or (reader.file.name,)):
            outcome = ("finding", f"does not name the file: {_described(error)}")
    except BaseException as error:
        outcome = ("finding", _described(error))
    after = listing(root, but)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    if touched or changed:
        outcome = ("finding", f"touched {touched or sorted(changed)[:3]}")
    return outcome


def _described(error):
    """The error, and where in the project it passed last."""
    parts = ("/keras_emoco/", "/trainers/", "/tfds_builders/")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if any(p in f.filename for p in parts)]
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "outside"
    return f"{type(error).__name__} at {place}: {error!s:.300}"


def child(reader, root, start, count, out):
    """Read the mutated files from number `start` on; two lines to a pipe for each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if not os.environ.get("EMOCO_FUZZ_STDERR"):
        os.dup2(1, 2)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    original = reader.file.read_bytes()
    touched = watch(root)
    for number in range(start, count):
        os.write(out, f"{number}\tbegins\t\n".encode())
        data = damaged(reader, number, original)
        outcome, what = read_one(reader, root, data, touched)
        if not number and outcome != "read":
            outcome, what = "finding", f"the original is not read: {what or 'refused'}"
        line = what.encode("utf-8", "backslashreplace").decode().replace("\n", " ").replace("\t", " ")
        os.write(out, f"{number}\t{outcome}\t{line}\n".encode())
    reader.file.write_bytes(original)


def damaged(reader, number, original):
    """The file as it is, then what is known, then what is drawn."""
    if number == 0:
        return original
    if number <= len(reader.known):
        return reader.known[number - 1](original)
    return reader.mutate(original, np.random.default_rng(number))


def forked(function, *arguments):
    """Run a function in a process of its own; returns its id and a pipe from it."""
    receive, send = os.pipe()
    process = os.fork()
    if process:
        os.close(send)
        return process, receive
    code = 1
    try:
        os.close(receive)
        function(*arguments, send)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def fuzz(reader, root, count):
    """Read all; prints the row, and returns the number of findings."""
    counts, findings, start, original = {"refused": 0, "read": 0}, [], 0, reader.file.read_bytes()
    drawn = 1 + len(reader.known)
    while start < drawn + count:
        process, receive = forked(child, reader, root, start, drawn + count)
        number, ended = follow(process, receive, drawn, counts, findings)
        reader.file.write_bytes(original)
        if ended is None:
            break
        findings.append((number, ended))
        start = number + 1
    print(f"{reader.name}\t{count}\t{counts['refused']}\t{counts['read']}\t{len(findings)}", flush=True)
    for number, what in findings[:20]:
        print(f"  {reader.name} {number}: {what}", flush=True)
    return len(findings)


def follow(process, receive, drawn, counts, findings):
    """Read what a child tells, with an eye on the clock; returns its last number, and how it ended."""
    number, hangs = 0, False
    with os.fdopen(receive) as lines:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
        for line in lines:
            signal.alarm(SECONDS)
            number, outcome, what = line.rstrip("\n").split("\t", 2)
            if outcome == "finding":
                findings.append((int(number), what))
            elif outcome != "begins" and int(number) >= drawn:
                counts[outcome] += 1
        hangs = signal.alarm(0) == 0
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    how = f"hangs for {SECONDS} s" if hangs and code == -signal.SIGKILL else f"exit status {code}"
    return int(number), None if code == 0 else how


def with_constant(module, constant, path, read):
    """`read()` where a module takes a file that comes with it from another place."""
    before = getattr(module, constant)
    setattr(module, constant, path)
    try:
        return read()
    finally:
        setattr(module, constant, before)


def main(group, count, only=None):
    """Make the files of a group in a process of its own, since what computed must not fork; fuzz each."""
    module = importlib.import_module(f"{group}_readers")
    with tempfile.TemporaryDirectory(prefix="fuzz") as directory:
        # Below a directory that is watched too: what leads out of its folder with `..` ends up there.
        root = pathlib.Path(directory).resolve()
        (root / "canary.txt").write_text("not to be touched")
        (root / "files").mkdir()
        os.chdir(root / "files")
        process, _ = forked(lambda _: module.make(root / "files"))
        if os.waitpid(process, 0)[1]:
            sys.exit("the files could not be made")
        findings, start = 0, time.monotonic()
        for reader in module.readers(root / "files"):
            if only in (None, reader.name):
                findings += fuzz(reader, root, max(1, round(count * reader.share)))
        print(f"# {group}: {time.monotonic() - start:.0f} s", flush=True)
    sys.exit(findings > 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
