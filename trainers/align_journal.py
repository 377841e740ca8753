"""What `trainers.align` has done so far, so that a killed run ends as one that was not."""

import fcntl
import json
import os
import pathlib

from tfds_builders import archives


class Journal:
    """A file with a line of settings, then a line of JSON for each finished batch: all of it or nothing.

    An entry is a dict with `file`, `frame` (None for a picture or a whole video), `stamp` (of the input
    file) and `faces`, each with the `output` it was written to. Entries of inputs that are changed or gone,
    or whose outputs are gone, are dropped, and what is left of their outputs is deleted.

    Args:
        directory: the run's output directory; made if it does not exist.
        settings: what the outputs depend on, as JSON.
        stamps: for each input file its present stamp.

    Raises:
        ValueError: the directory has other files but no journal, or a run of other settings; the journal is
            damaged, or names outputs elsewhere.
        BlockingIOError: another process is writing to the directory.
    """

    def __init__(self, directory: pathlib.Path, settings: dict, stamps: dict[str, list]):
        path = directory / "journal.jsonl"
        if not path.exists() and directory.exists() and any(directory.iterdir()):
            raise ValueError(f"--output={directory} holds other files: give an empty or a new directory")
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._file = directory, open(path, "a+b")  # noqa: SIM115, open as long as the run
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"another run is writing to {directory}: wait for it or end it") from error
        self.entries: dict[tuple[str, int | None], dict] = {}
        settings = json.loads(json.dumps(settings))
        lines = self._complete_lines(path)
        if not lines:
            self._write(settings)
        elif lines[0] != settings:
            changed = ", ".join(
                f"{k}={lines[0].get(k)}, now {v}" for k, v in settings.items() if lines[0].get(k) != v
            )
            raise ValueError(f"{directory} holds a run of other settings ({changed}): give a new --output")
        for entry in (entry for line in lines[1:] for entry in line):
            if entry["stamp"] == stamps.get(entry["file"]) and self._has_outputs(entry):
                self.entries[entry["file"], entry["frame"]] = entry
            else:
                self.entries.pop((entry["file"], entry["frame"]), None)
        self._delete_outputs_without_entry(lines[1:])

    def add(self, entries: list[dict]) -> None:
        """Records what is finished; its outputs must be in place."""
        self._write(entries)
        self.entries.update(((entry["file"], entry["frame"]), entry) for entry in entries)

    def _complete_lines(self, path):
        self._file.seek(0)
        data = self._file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(complete))
        try:
            lines = [json.loads(line) for line in complete.splitlines()]
            if not all(isinstance(line, list if number else dict) for number, line in enumerate(lines)):
                raise TypeError("a line is neither settings nor entries")
            for entry in (entry for line in lines[1:] for entry in line):
                _check(entry, path)
        except archives.ArchiveError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {error}): put a copy back, or give another "
                "--output"
            ) from error
        return lines

    def _write(self, line):
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def _has_outputs(self, entry):
        return all(os.path.exists(self._directory / face["output"]) for face in entry["faces"])

    def _delete_outputs_without_entry(self, lines):
        kept = {face["output"] for entry in self.entries.values() for face in entry["faces"]}
        written = {face["output"] for line in lines for entry in line for face in entry["faces"]}
        for output in written - kept:
            (self._directory / output).unlink(missing_ok=True)


def _check(entry, path):
    """Raise for what is no entry; outputs without one are deleted, so they must lie in the directory."""
    kinds = {"file": str, "stamp": list, "status": str, "reason": str, "faces": list}
    for name, kind in kinds.items():
        if not isinstance(entry[name], kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    # A number of a frame; the summary of a video counts its frames.
    if not all(isinstance(n, (int, type(None))) for n in (entry["frame"], entry.get("frames"))):
        raise TypeError("frame is no whole number")
    for face in entry["faces"]:
        if not isinstance(face["output"], str):
            raise TypeError("output is no str")
        archives.safe_name(face["output"], str(path))
        numbers = [
            face["confidence"],
            *face["box"],
            *(number for point in face["landmarks"] for number in point),
        ]
        if len(numbers) != 15 or not all(isinstance(number, (int, float)) for number in numbers):
            raise TypeError("a face is not 15 numbers")
