"""One run of `trainers.pretrain` left alone, and one killed often.

`python torture.py DIRECTORY MANUAL_DIR KILLS SEED`, a program of `test_torture.py`. It imports once and
forks for each start: imports take longer than the runs, and what is forked has computed nothing yet. It
prints a line for each kill.
"""

import os
import pathlib
import signal
import sys
import time

import keras_hub  # noqa: F401  (before the forks)
import numpy as np
from absl import flags

from keras_emoco import encoders
from trainers import pretrain, pretrain_flags

STEPS_PER_EPOCH = 4
# A ResNet of half the depth of the smallest: tracing it is most of a run.
encoders.RESNETS["resnet10"] = ("basic_block", [1, 1, 1, 1])


def start(workdir, log, arguments):
    """Fork a run; its output goes to a file."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for descriptor in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        flags.FLAGS([*arguments, f"--workdir={workdir}"])
        pretrain.main(None)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        print(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def newest(workdir):
    paths = sorted(workdir.glob("checkpoints/step_*"))
    return int(paths[-1].name[5:]) if paths else 0


def kill_at_random(process, workdir, rng, number, epoch_seconds):
    """Kill a part of an epoch after some new checkpoints; every third by SIGTERM, inside an epoch then."""
    at_start = before = newest(workdir)
    seen, wanted = 0, rng.integers(0, 3)
    begun = workdir.parent / "killed.log"
    size = begun.stat().st_size if begun.exists() else 0
    # Not into the reading of flags, where there is nothing to lose: from the first line about training on.
    while not (begun.exists() and b"trained weights" in begun.read_bytes()[size:]):
        assert os.waitpid(process, os.WNOHANG) == (0, 0), begun.read_text()
        time.sleep(0.01)
    while seen < wanted and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if newest(workdir) != before:
            before, seen = newest(workdir), seen + 1
        time.sleep(0.005)
    deadline = time.monotonic() + rng.uniform(0, epoch_seconds if wanted else 8 * epoch_seconds)
    # However fast the machine has become since the first run: a run that has ended cannot be killed.
    while time.monotonic() < deadline and newest(workdir) - at_start < 3 * STEPS_PER_EPOCH:
        time.sleep(0.005)
    sent = signal.SIGTERM if number % 3 == 1 else signal.SIGKILL
    os.kill(process, sent)
    return sent.name


def main(directory, manual_dir, kills, seed):
    directory, kills, rng = pathlib.Path(directory), int(kills), np.random.default_rng(int(seed))
    steps = STEPS_PER_EPOCH * (5 + 3 * kills) + 2
    arguments = [
        "pretrain",
        f"--manual_dir={manual_dir}",
        f"--data_dir={directory / 'data'}",
        "--dataset=fer2013",
    ]
    arguments += [
        "--encoder=resnet10",
        "--image_size=32",
        "--batch_size=28",
        "--queue_size=64",
        "--hidden_dim=32",
    ]
    arguments += [f"--epochs={steps}", f"--max_steps={steps}"]
    pretrain_flags.define()

    log = directory / "whole.log"
    assert wait(start(directory / "whole", log, arguments)) == 0, log.read_text()
    seconds = float(log.read_text().split("steps in ")[1].split(" s")[0])
    log = directory / "killed.log"
    for number in range(kills):
        begun = time.monotonic()
        process = start(directory / "killed", log, arguments)
        sent = kill_at_random(process, directory / "killed", rng, number, STEPS_PER_EPOCH * seconds / steps)
        lasted = time.monotonic() - begun
        code = wait(process)
        resumed = newest(directory / "killed")
        print(
            f"  {number + 1:2} {sent} after {lasted:5.1f} s, code {code:3}, goes on from step {resumed}",
            flush=True,
        )
        assert code == (75 if sent == "SIGTERM" else -9), log.read_text()
    assert wait(start(directory / "killed", log, arguments)) == 0, log.read_text()


if __name__ == "__main__":
    main(*sys.argv[1:])
