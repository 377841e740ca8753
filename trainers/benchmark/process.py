"""Times cases in turn, each in a process of its own: what else the machine does meets all of them alike."""

import dataclasses
import importlib
import multiprocessing
import os
import time
import traceback

from trainers.benchmark.cases import Case

STARTUP_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        begin: seconds on the clock that all processes share.
        wall: seconds for one call.
        cpu: seconds of processor time for one call, over all threads.
    """

    begin: float
    wall: float
    cpu: float


@dataclasses.dataclass(frozen=True)
class Result:
    """What is known of a case.

    Attributes:
        samples: its measurements.
        work: what one call does, in the unit of its comparison.
        value: what the first call returned, a loss where there is one.
        resident: bytes in memory before the first call, everything compiled and loaded.
        extra: bytes the first call added at its peak.
    """

    samples: list[Sample]
    work: float
    value: float
    resident: int
    extra: int


def measure(cases: tuple[Case, ...], repeats: int, seconds: float) -> list[Result]:
    """Prepare all cases, then time each once in turn, `repeats` times over.

    Args:
        cases: at least one.
        repeats: rounds.
        seconds: a sample makes as many calls as fit into so much time, and at least one.

    Returns:
        The results, in the order of `cases`.

    Raises:
        RuntimeError: a case failed; the message has its traceback.
    """
    workers = []
    try:
        for case in cases:  # One after another: two compilers at once are no faster and share the memory.
            workers.append(_Worker(case, seconds))
            workers[-1].start()
        samples = [[worker.ask() for worker in workers] for _ in range(repeats)]
    finally:
        for worker in workers:
            worker.stop()
    return [
        Result(list(own), **worker.facts)
        for worker, own in zip(workers, zip(*samples, strict=True), strict=True)
    ]


class _Worker:
    def __init__(self, case, seconds):
        context = multiprocessing.get_context("spawn")
        self.case = case
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, case, seconds), daemon=True)
        before = os.environ.get("KERAS_BACKEND")
        os.environ["KERAS_BACKEND"] = case.backend
        try:
            self.process.start()
        finally:
            if before is None:
                del os.environ["KERAS_BACKEND"]
            else:
                os.environ["KERAS_BACKEND"] = before
        theirs.close()

    def start(self):
        self.facts = self._receive()

    def ask(self):
        self.pipe.send("measure")
        return self._receive()

    def stop(self):
        self.process.kill()
        self.process.join()

    def _receive(self):
        try:
            if not self.pipe.poll(STARTUP_SECONDS):
                raise RuntimeError(f"{self.case.name}: no answer within {STARTUP_SECONDS} s")
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"{self.case.name}: its process ended with code {self.process.exitcode} (-9: out of memory?)"
            ) from None
        if isinstance(answer, str):
            raise RuntimeError(f"{self.case.name}:\n{answer}")
        return answer


def _serve(pipe, case, seconds):
    try:
        if case.one_core:
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        module, function = case.prepare.split(".")
        run, work = getattr(importlib.import_module(f"trainers.benchmark.{module}"), function)(**case.options)
        resident = memory("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # The peak is counted from here.
        value = run()
        extra = max(memory("VmHWM") - resident, 0)
        start = time.perf_counter()
        run()
        calls = max(1, round(seconds / (time.perf_counter() - start)))
        pipe.send({"work": work, "value": value, "resident": resident, "extra": extra})
        while True:
            pipe.recv()
            pipe.send(_sample(run, calls))
    except Exception:
        pipe.send(traceback.format_exc())


def _sample(run, calls):
    begin, cpu = time.monotonic(), time.process_time()
    for _ in range(calls):
        run()
    return Sample(begin, (time.monotonic() - begin) / calls, (time.process_time() - cpu) / calls)


def memory(name: str) -> int:
    """Bytes of this process, as `/proc/self/status` names them: `"VmRSS"` now, `"VmHWM"` at the peak."""
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024
