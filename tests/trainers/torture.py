"""One run of `trainers.pretrain` left alone, and one killed often.

`python torture.py DIRECTORY MANUAL_DIR KILLS SEED`, a program of `test_torture.py`. It imports once and
forks for each start: imports take longer than the runs, and what is forked has computed nothing yet. It
prints a line for each kill.
"""

import json
import os
import pathlib
import signal
import sys
import time

import keras
import numpy as np
from absl import flags

from keras_emoco import encoders
from trainers import pretrain, pretrain_flags

STEPS_PER_EPOCH = 4
# Killed in turn: at a random moment; by SIGTERM at one; while a checkpoint is written; after SIGTERM, while
# the checkpoint that it asks for is written.
KINDS = (
    ("SIGKILL",),
    ("SIGTERM",),
    ("checkpoint", "SIGKILL"),
    ("SIGTERM", "checkpoint", "SIGKILL"),
)
CODES = {"SIGKILL": (-signal.SIGKILL,), "SIGTERM": (os.EX_TEMPFAIL,)}
WRITING = 0.1  # seconds; about what a checkpoint of this run takes


def encoder(name, image_size):
    """A small one in the place of those with names: tracing a ResNet is most of a run. It draws numbers."""
    images = keras.Input((image_size, image_size, 3))
    x = keras.layers.Conv2D(32, 5, strides=4, use_bias=False)(images)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(256, 3, strides=2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dropout(0.2)(x))


encoders.build = encoder


def start(workdir, log, arguments, **environment):
    """Fork a run; its output goes to a file."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.environ.update(environment)
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


def arguments(manual_dir, data_dir, *more):
    """What all the runs here have in common."""
    given = [f"--manual_dir={manual_dir}", f"--data_dir={data_dir}", "--dataset=fer2013", *more]
    return ["pretrain", "--image_size=32", "--batch_size=28", "--queue_size=64", "--hidden_dim=32", *given]


def wait(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def alive(process):
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def newest(workdir):
    paths = sorted(workdir.glob("checkpoints/step_*"))
    return int(paths[-1].name[5:]) if paths else 0


def half_written(workdir):
    return {(path, path.stat().st_mtime_ns) for path in workdir.glob("checkpoints/partial_*")}


def kill_while_data_is_built(process, data_dir, log):
    while not [path for path in data_dir.glob("**/*incomplete*/**/*") if path.is_file()]:
        assert alive(process), log.read_text()
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)


def kill(process, kind, workdir, rng, epoch_seconds, said):
    """Kill after some new checkpoints and a part of an epoch, in the way of `KINDS`."""
    at_start = before = newest(workdir)
    seen, wanted = 0, rng.integers(0, 3)
    # Not into the reading of flags, where there is nothing to lose: from the first line about training on.
    while "trained weights" not in said():
        assert alive(process), said()
        time.sleep(0.01)
    while seen < wanted and alive(process):
        if newest(workdir) != before:
            before, seen = newest(workdir), seen + 1
        time.sleep(0.005)
    deadline = time.monotonic() + rng.uniform(0, epoch_seconds if wanted else 8 * epoch_seconds)
    # However fast the machine has become since the first run: a run that has ended cannot be killed.
    while time.monotonic() < deadline and newest(workdir) - at_start < 3 * STEPS_PER_EPOCH:
        time.sleep(0.005)
    for act in kind:
        if act == "checkpoint":
            stale = half_written(workdir)
            while alive(process) and half_written(workdir) <= stale:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, WRITING))
        elif alive(process):
            os.kill(process, signal.Signals[act])


def difference(workdir, whole):
    """The greatest between the logs in the newest checkpoint and those of the whole run."""
    file = workdir / f"checkpoints/step_{newest(workdir):09d}/history.json"
    epochs = json.loads(file.read_text()) if file.exists() else []
    pairs = zip(epochs, whole[: len(epochs)], strict=True)
    return max((abs(one[name] - two[name]) for one, two in pairs for name in two), default=0.0)


def main(directory, manual_dir, kills, seed):
    directory, kills, rng = pathlib.Path(directory), int(kills), np.random.default_rng(int(seed))
    steps = STEPS_PER_EPOCH * (5 + 3 * kills) + 2
    length = (f"--epochs={steps}", f"--max_steps={steps}")
    pretrain_flags.define()

    log, workdir = directory / "whole.log", directory / "whole"
    given = arguments(manual_dir, directory / "data", *length)
    assert wait(start(workdir, log, given)) == 0, log.read_text()
    seconds = float(log.read_text().split("steps in ")[1].split(" s")[0])
    history = json.loads((workdir / f"checkpoints/step_{steps:09d}/history.json").read_text())

    log, workdir = directory / "killed.log", directory / "killed"
    given = arguments(manual_dir, directory / "killed_data", *length)
    process = start(workdir, log, given)
    kill_while_data_is_built(process, directory / "killed_data", log)
    assert wait(process) == -signal.SIGKILL, log.read_text()
    print("   0  SIGKILL while the data is built", flush=True)
    for number in range(kills):
        kind = KINDS[number % len(KINDS)]
        begun, stale, size = time.monotonic(), half_written(workdir), log.stat().st_size
        process = start(workdir, log, given)
        kill(process, kind, workdir, rng, STEPS_PER_EPOCH * seconds / steps, lambda: log.read_text()[size:])  # noqa: B023
        lasted, code = time.monotonic() - begun, wait(process)
        half = "half a checkpoint left" if half_written(workdir) - stale else ""
        print(
            f"  {number + 1:2}  {', '.join(kind):27} {lasted:5.1f} s  code {code:3}  goes on from step "
            f"{newest(workdir):3}  difference {difference(workdir, history)}  {half}",
            flush=True,
        )
        assert code in [code for act in kind for code in CODES.get(act, ())], log.read_text()
    assert wait(start(workdir, log, given)) == 0, log.read_text()


if __name__ == "__main__":
    main(*sys.argv[1:])
