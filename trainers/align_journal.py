"""What `trainers.align` has done so far, so that a killed run ends as one that was not."""

import fcntl
import json
import os
import pathlib


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
        ValueError: the directory has other files but no journal, or a run of other settings.
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
        lines = self._complete_lines()
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

    def _complete_lines(self):
        self._file.seek(0)
        data = self._file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(complete))
        return [json.loads(line) for line in complete.splitlines()]

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
