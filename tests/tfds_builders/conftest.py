"""TFDS's own checks of a builder, as a fixture."""

import pathlib
import unittest

import pytest
import tensorflow_datasets as tfds


@pytest.fixture
def tfds_checks():
    """Runs them on a copy, for every listed config: `tfds_checks(Builder, manual_dir, {"train": 7})`."""
    pytest.importorskip("dill", reason="tfds.testing imports dill and does not require it")

    def run(builder_cls: type, manual_dir: pathlib.Path, splits: dict[str, int]):
        class Checks(tfds.testing.DatasetBuilderTestCase):
            DATASET_CLASS = builder_cls
            EXAMPLE_DIR = str(manual_dir)
            SPLITS = splits
            SKIP_CHECKSUMS = True  # Nothing is downloaded.

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Checks).run(result)
        assert result.testsRun > 3
        for _, report in result.errors + result.failures:
            pytest.fail(report)

    return run
