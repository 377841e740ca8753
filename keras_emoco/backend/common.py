"""What the backends share: the size of one read of a queue."""

# Keys in one read of a queue: 1 MiB at 128 float32 numbers each, so that a chunk stays in the cache
# between its two products.
CHUNK = 2048
