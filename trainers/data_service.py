"""Make views for a training on other hosts: `python -m trainers.data_service --port=5050` on each of them.

The training names them: `python -m trainers.pretrain --data_service=HOST:5050,...`. The data sets must lie
under the same `--data_dir` on all. Without a password and without encryption: for a network of your own.
"""

import signal
import socket
import sys
import threading

import tensorflow as tf
from absl import app, flags

FLAGS = flags.FLAGS


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
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=FLAGS.port))
    worker = service.WorkerServer(
        service.WorkerConfig(f"localhost:{FLAGS.port}", f"{host}:{worker_port}", worker_port)
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


if __name__ == "__main__":
    define_flags()
    app.run(main)
