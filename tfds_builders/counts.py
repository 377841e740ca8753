"""Counts what a build reads and skips, and compares it with what a full copy is documented to hold.

Not for deciding what to skip: builders do, and say why.
"""

import collections
from collections.abc import Hashable, Mapping

SHOWN_FILES = 3
DAMAGED = "image does not decode"
# So many of a split may be damaged and skipped; with more the copy, not an image, is bad.
MAX_DAMAGED, MAX_DAMAGED_SHARE = 10, 0.01


class Counts:
    """The counts of one split; a builder reports after the last example of the split."""

    def __init__(
        self,
        title: str,
        full_copy: Mapping[Hashable, int],
        *,
        known: Mapping[str, float] | None = None,
        total: bool = True,
        strict: bool = False,
    ):
        """Prepares the table.

        Args:
          title: Data set, config and split, and where the copy lies: the table's first line.
          full_copy: For each key (a class, a subject, ...) how many examples the documentation gives, in the
            order of the table's rows; empty where no documentation gives them.
          known: How many examples at most a full copy is known to lose for a reason; `math.inf` for what is
            left out on purpose.
          total: Whether an example has one key, so that the sum over the keys means something.
          strict: Whether `report` raises.
        """
        self._title = title
        self._full = {str(key): number for key, number in full_copy.items()}
        self._known = dict(known or {})
        self._total = total
        self._strict = strict
        self._read = collections.Counter(dict.fromkeys(self._full, 0))
        self._skipped = collections.Counter()
        self._noted = collections.Counter()
        self._first_files = collections.defaultdict(list)
        self._lost = collections.Counter()  # by key, for known reasons

    def read(self, key: Hashable, number: int = 1) -> None:
        """Counts examples that are stored."""
        self._read[str(key)] += number

    def skip(self, reason: str, file: str, key: Hashable | None = None) -> None:
        """Counts an example that is left out; with its `key`, a known reason explains a difference."""
        self._skipped[reason] += 1
        self._remember(reason, file)
        if key is not None and self._skipped[reason] <= self._known.get(reason, 0):
            self._lost[str(key)] += 1

    def note(self, peculiarity: str, file: str) -> None:
        """Counts an example that is stored although something about it is unusual; no matter for `strict`."""
        self._noted[peculiarity] += 1
        self._remember(peculiarity, file)

    def report(self) -> None:
        """Prints what was read, documented and skipped.

        Raises:
          ValueError: if nothing was read; if more images are damaged than `MAX_DAMAGED` and than
            `MAX_DAMAGED_SHARE` of all; if `strict`, and a number differs or an example was skipped beyond
            what is known.
        """
        print(f"\n{self}")
        if not any(self._read.values()):
            reasons = "; ".join(f"{number:,} skipped ({reason})" for reason, number in self._skipped.items())
            raise ValueError(
                f"{self._title}: nothing was read; {reasons or 'the copy is empty'}: complete the copy."
            )
        damaged, all_images = self._skipped[DAMAGED], self._skipped[DAMAGED] + sum(self._read.values())
        if damaged > max(MAX_DAMAGED, MAX_DAMAGED_SHARE * all_images):
            raise ValueError(
                f"{self._title}: {damaged:,} of {all_images:,} images do not decode "
                f"({self._names(DAMAGED, damaged)}), more than {MAX_DAMAGED} and {MAX_DAMAGED_SHARE:.0%}: "
                "copy them again."
            )
        surprises = self._surprises()
        if self._strict and surprises:
            raise ValueError(
                f"{self._title}: this is not the copy that the documentation describes (strict): "
                f"{'; '.join(surprises)}. Complete the copy, or build without strict to keep what there is."
            )

    def __str__(self) -> str:
        numbers = {row: (here, self._full.get(row, 0)) for row, here in self._read.items()}
        if self._total:
            numbers["total"] = (sum(self._read.values()), sum(self._full.values()))
        width = max(map(len, [*numbers, " " * 8])) + 2
        lines = [self._title, f"{'':{width}}{'read':>9}{'full copy':>11}{'difference':>12}"]
        for row, (here, there) in numbers.items():
            documented = f"{there:11,}{here - there:+12,}" if self._full else f"{'unknown':>11}"
            lines.append(f"{row:{width}}{here:9,}{documented}")
        for reason, number in self._skipped.items():
            known = ", known" if number <= self._known.get(reason, 0) else ""
            lines.append(f"skipped {number:,} ({reason}{known}): {self._names(reason, number)}")
        for what, number in self._noted.items():
            lines.append(f"kept {number:,} ({what}): {self._names(what, number)}")
        return "\n".join(lines)

    def _remember(self, reason: str, file: str) -> None:
        if len(self._first_files[reason]) < SHOWN_FILES:
            self._first_files[reason].append(file)

    def _names(self, reason: str, number: int) -> str:
        return ", ".join(self._first_files[reason]) + (", ..." if number > SHOWN_FILES else "")

    def _surprises(self) -> list[str]:
        surprises = [
            f"{number:,} skipped ({reason}); known are {self._known.get(reason, 0):,}"
            for reason, number in self._skipped.items()
            if number > self._known.get(reason, 0)
        ]
        for key, number in self._read.items() if self._full else ():
            expected = self._full.get(key, 0) - self._lost[key]
            # Documentation counted some files that not every reader can open: both numbers are a full copy.
            if number not in (expected, self._full.get(key, 0)):
                surprises.append(f"{key}: {number:,} read, {self._full.get(key, 0):,} documented")
        return surprises
