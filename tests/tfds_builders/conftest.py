"""TFDS's own checks of a builder, and the comparison of a build on Beam with one without, as fixtures."""

import pathlib
import unittest

import numpy as np
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


@pytest.fixture
def same_on_beam(tmp_path, capsys, monkeypatch):
    """Compares builds: `same_on_beam(manual_dir, "rafdb", aligner=...)`; returns what both print."""
    pytest.importorskip("apache_beam", reason="needs Apache Beam")
    from tfds_builders import on_beam  # Here, since it needs Beam.

    monkeypatch.setattr(on_beam, "CHUNK", 4)  # Several chunks of a small copy.

    def run(manual_dir: pathlib.Path | None, dataset: str, **kwargs) -> list[str]:
        printed, read = [], []
        for runner in (None, "DirectRunner"):
            builder = tfds.builder(dataset, data_dir=tmp_path / f"{runner}", **kwargs)
            config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_runner=runner)
            capsys.readouterr()
            builder.download_and_prepare(download_config=config)
            printed.append(sorted(map(_without_order, capsys.readouterr().out.splitlines())))
            read.append(_examples_by_file(builder))
        in_turn, on_beam = read
        assert in_turn.keys() == on_beam.keys()
        for key, example in in_turn.items():
            np.testing.assert_equal(on_beam[key], example, err_msg=f"{key}")
        tables = [[line for line in lines if not line.startswith(NOT_COUNTS)] for lines in printed]
        assert tables[0] == tables[1]
        return tables[1]

    return run


# What TFDS prints, with paths and times that differ.
NOT_COUNTS = ("\x1b", "Downloading ", "Dataset ")


def _without_order(line: str) -> str:
    """The line with the names that it tells in order; without them where it does not tell all."""
    before, colon, names = line.partition("): ")
    if not line.startswith(("skipped", "kept")):
        return line
    return before + colon + ("..." if names.endswith("...") else ", ".join(sorted(names.split(", "))))


def _examples_by_file(builder: tfds.core.DatasetBuilder) -> dict[tuple[str, bytes], dict]:
    """All examples, with the bytes of their images, by split and file; those without file by the image."""
    decoders = {"image": tfds.decode.SkipDecoding()}
    examples = {}
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders)):
            examples[split, example.get("file", example["image"])] = example
        assert sum(of == split for of, _ in examples) == builder.info.splits[split].num_examples
    return examples
