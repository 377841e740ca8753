"""Views made on other hosts by `tf.data` service, in the order and with the bits that one host would give.

For hosts whose accelerators outrun their cores. `python -m trainers.data_service` is what runs there.
"""

import socket
from collections.abc import Callable, Sequence

import tensorflow as tf

SECONDS = 10.0  # for a host to answer


def check(addresses: Sequence[str], batch_size: int) -> None:
    """Ask each address for a connection, because TensorFlow would wait for it without a word.

    Args:
        addresses: `host:port` of each.
        batch_size: examples that they make together.

    Raises:
        ValueError: one is not `host:port`, or is there twice; they cannot have equal shares.
        ConnectionError: nothing answers at one.
    """
    if addresses and batch_size % len(addresses):
        raise ValueError(
            f"data service: a batch of {batch_size} does not divide among {len(addresses)} hosts: leave out "
            "some, or change batch_size"
        )
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"data service: expected addresses host:port; got {address!r}")
        if list(addresses).count(address) > 1:
            raise ValueError(f"data service: {address} is given twice: each host makes its own share once")
        try:
            socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(
                f"no data service answers at {address} ({error}): start `python -m trainers.data_service "
                f"--port={port}` there, or correct the address"
            ) from error


def side_by_side(
    share_of: Callable[[int], tf.data.Dataset], addresses: Sequence[str], first_step: int
) -> tf.data.Dataset:
    """Each host's share of every batch, made there, put together in the order of the hosts.

    Args:
        share_of: from the number of a host to the endless dataset of its shares, from `first_step` on.
        addresses: `host:port` of each.
        first_step: number of the first batch.

    Returns:
        Dataset of whole batches.

    Raises:
        tf.errors.InvalidArgumentError: on iteration, a host's batch was lost on its way.
        tf.errors.OpError: on iteration, a host has ended, or was started again.
    """
    shares = [
        share_of(number)
        .enumerate(first_step)
        # Each host has a dispatcher of its own, which knows of one worker: so all it makes is in order.
        .apply(tf.data.experimental.service.distribute("parallel_epochs", f"grpc://{address}"))
        for number, address in enumerate(addresses)
    ]

    def join(step, parts):
        numbers = tf.stack([number for number, _ in parts])
        message = "a batch of the data service was lost on its way: go on from the last checkpoint"
        with tf.control_dependencies([tf.debugging.assert_equal(numbers, step, message)]):
            return tf.nest.map_structure(lambda *own: tf.concat(own, axis=0), *(share for _, share in parts))

    counter = tf.data.Dataset.counter(tf.constant(first_step, tf.int64))
    return tf.data.Dataset.zip((counter, tuple(shares))).map(join)
