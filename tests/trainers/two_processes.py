"""Two JAX processes that train together: one gets a notice, one dies, then the other; and they go on.

`python two_processes.py DIRECTORY MANUAL_DIR PORT`, a program of `test_torture.py`. It prints a line for each
start; `whole` and `killed` have trained equally long when it ends.
"""

import os
import pathlib
import signal
import sys
import time

import torture

from trainers import pretrain_flags

ENDS_WITHIN = 150  # seconds after a signal; JAX misses a machine that is silent after 100
TRAINED_WITHIN = 800


def begin(workdir, given, port):
    """Start both; returns their numbers and where their output goes."""
    logs = [workdir.with_name(f"{workdir.name}.{number}.log") for number in range(2)]
    for log in logs:
        log.unlink(missing_ok=True)
    processes = [
        torture.start(
            workdir,
            logs[number],
            given,
            KERAS_DISTRIBUTION_JOB_ADDRESSES=f"localhost:{port}",
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    return processes, logs


def after_a_checkpoint(workdir, processes, logs):
    before, deadline = torture.newest(workdir), time.monotonic() + 500
    while torture.newest(workdir) == before:
        assert all(map(torture.alive, processes)), "".join(log.read_text() for log in logs)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def codes(processes, within):
    """How both ended, and after how many seconds; one that does not end is killed."""
    begun, ended = time.monotonic(), {}
    while len(ended) < 2:
        for process in processes:
            if process not in ended and not torture.alive(process):
                ended[process] = torture.wait(process)
        if time.monotonic() - begun > within:
            for process in set(processes) - set(ended):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    return [ended[process] for process in processes], time.monotonic() - begun


def main(directory, manual_dir, port):
    directory, port = pathlib.Path(directory), int(port)
    pretrain_flags.define()
    common = ("--epochs=100000", "--strategy=data_parallel", "--virtual_devices=1")
    given = torture.arguments(manual_dir, directory / "data", *common)
    workdir = directory / "killed"
    for sent, number in (("SIGTERM", 1), ("SIGKILL", 1), ("SIGKILL", 0)):
        processes, logs = begin(workdir, given, port)
        after_a_checkpoint(workdir, processes, logs)
        os.kill(processes[number], signal.Signals[sent])
        ended, seconds = codes(processes, ENDS_WITHIN)
        step = torture.newest(workdir)
        print(f"{sent} to process {number}: codes {ended} within {seconds:.1f} s, step {step}", flush=True)
        texts = [log.read_text() for log in logs]
        for line in "".join(texts).splitlines():
            if "stopped after" in line or "error: another" in line or "Terminating process" in line:
                print(f"  {line[:300]}", flush=True)
        if sent == "SIGTERM":
            assert ended == [os.EX_TEMPFAIL] * 2, texts
            assert all(f"stopped after step {step}, as asked" in text for text in texts), texts
        else:
            assert ended[number] == -signal.SIGKILL, texts
            assert ended[1 - number] in (1, -signal.SIGABRT), "it ended by itself"
            ours = "another of the 2 processes has ended ("
            # Where no connection breaks, or that to the first process, JAX may end it before it says so.
            jaxs = "This most likely indicates that another task died"
            assert ours in texts[1 - number] or jaxs in texts[1 - number], texts
    steps = torture.newest(workdir) + 2
    for name in ("killed", "whole"):
        processes, logs = begin(directory / name, [*given, f"--max_steps={steps}"], port)
        ended, _ = codes(processes, TRAINED_WITHIN)
        assert ended == [0, 0], [log.read_text() for log in logs]
        print(f"{name}: {steps} steps", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
