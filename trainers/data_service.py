"""Make views for a training on other hosts: `python -m trainers.data_service --port=5050` on each of them.

The training names them: `python -m trainers.pretrain --data_service=HOST:5050,...`. The data sets must lie
under the same `--data_dir` on all. Without a password and without encryption: for a network of your own.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence

import tensorflow as tf
from absl import app, flags

from keras_emoco.augment import service

FLAGS = flags.FLAGS
PATIENCE = 30.0  # seconds that a training waits for a host that does not answer


def define_flags():
    """Where the trainings find this host."""
    flags.DEFINE_integer("port", 5050, "trainings connect here", lower_bound=1, upper_bound=65535)
    flags.DEFINE_integer("worker_port", 0, "they fetch views here; default --port + 1", lower_bound=0)
    flags.DEFINE_string("host", None, "this host's name as the trainings know it; default its own")


def main(_):
    """Serve until SIGTERM or Ctrl-C."""
    host = FLAGS.host or socket.gethostname()
    worker_port = FLAGS.worker_port or FLAGS.port + 1
    try:
        check(host, FLAGS.port, worker_port)
    except ValueError as error:
        sys.exit(f"error: {error}")
    tf_service = tf.data.experimental.service
    dispatcher = tf_service.DispatchServer(tf_service.DispatcherConfig(port=FLAGS.port))
    worker = tf_service.WorkerServer(
        tf_service.WorkerConfig(f"localhost:{FLAGS.port}", f"{host}:{worker_port}", worker_port)
    )
    print(f"views for trainings with --data_service={host}:{FLAGS.port}; Ctrl-C ends it", flush=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    del worker, dispatcher


def check(host: str, *ports: int) -> None:
    """Whether this host has that name, and the ports are free.

    Raises:
        ValueError: no.
    """
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise ValueError(f"--host={host}: {error}: give the name or address that trainings reach") from error
    for port in ports:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", port))
        except (OSError, OverflowError) as error:
            raise ValueError(f"port {port}: {error}: give another --port or --worker_port") from error


@contextlib.contextmanager
def watched(addresses: Sequence[str]):
    """In a training: end the program when a host is gone, for which TensorFlow would wait for ever.

    Args:
        addresses: `host:port` of each.
    """
    left = threading.Event()

    def watch():
        answered = time.monotonic()
        while not left.wait(PATIENCE / 6):
            try:
                service.check(addresses, batch_size=0)
                answered = time.monotonic()
            except ConnectionError as error:
                if time.monotonic() - answered > PATIENCE and not left.is_set():
                    message = f"error: {error}; the same command goes on from the last checkpoint"
                    print(message, file=sys.stderr, flush=True)
                    # The step waits inside TensorFlow, where no exception reaches it.
                    os._exit(1)

    if addresses:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        left.set()


if __name__ == "__main__":
    define_flags()
    app.run(main)
