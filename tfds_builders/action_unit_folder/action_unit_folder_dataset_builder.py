"""TFDS builder of a user's own images and one CSV that says which action units each shows and who it is.

Not for the licensed data sets with layouts of their own, and not for intensities: codes are 0, 1 or empty.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import action_units, alignment, archives, configs, counts, sequences
from tfds_builders.action_unit_folder import table

INSTRUCTIONS = """\
Put your images and one CSV into the manual directory (the one passed as --manual_dir or as
tfds.download.DownloadConfig(manual_dir=...), otherwise <data_dir>/downloads/manual): as one folder, or as
one zip of it. The CSV has the columns file, subject, and AU1, AU2, ... with 0, 1, or nothing where the
action unit was not coded; further columns can be emotion, sequence and frame. The images (JPEG or PNG) lie
beside the CSV or in images/ beside it. Several such folders or zips can lie there together:
action_unit_folder/NAME reads NAME.zip or NAME/."""


@dataclasses.dataclass(kw_only=True)
class ActionUnitFolderConfig(tfds.core.BuilderConfig):
    """One data set of the user's.

    Attributes:
      name: NAME of `tfds.load("action_unit_folder/NAME")`: the name of the folder, or of the zip without
        `.zip`. `default` stands for the only one there is. `NAME_aligned` and `default_aligned` store
        aligned faces of it, so a folder's own name may not end so.
      source: The full name of the zip or folder, where `name` alone is not enough.
    """

    source: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set lies: `name` as a user would write it, its archive or folder, and the CSV in that."""

    name: str
    archive: pathlib.Path
    table: str


def config_name(source: str) -> str:
    """Returns the name of the config of the zip or folder `source`: `My faces.zip` gives `My_faces`."""
    return re.sub(r"\W+", "_", source.removesuffix(".zip"))


def find_source(manual_dir: pathlib.Path, config: ActionUnitFolderConfig) -> Source:
    """Returns the data set that `config` stands for in `manual_dir`.

    Raises:
      FileNotFoundError: if it is not there.
      ArchiveError: if it is not there, but something that could not be read.
      ValueError: if several are meant.
    """
    name = config.name.removesuffix(configs.SUFFIX)
    everything, unreadable = archives.search(manual_dir, ("*.zip",), lambda a: _sources_in(a, manual_dir))
    if config.source is not None:
        wanted = config.source
        found = [source for source in everything if source.name == wanted]
    elif name != DEFAULT.name:
        wanted = f"{name}.zip or {name}/"
        found = [source for source in everything if config_name(source.name) == config_name(name)]
    else:
        wanted = "*.zip or folder"
        found = everything
    if len(found) == 1:
        return found[0]
    if found:
        listing = "".join(f"\n  {source.name}, with {source.table}" for source in found)
        first = found[0].name
        raise ValueError(
            f"expected one CSV of action units in {manual_dir}; got {len(found)}:{listing}\n"
            f'Choose one by tfds.load("action_unit_folder/{config_name(first)}"), on the command line '
            f"by --config {config_name(first)}; or, by its full name, by "
            f'tfds.load("action_unit_folder", builder_kwargs={{"source": "{first}"}}). '
            "Of several CSVs in one zip or folder leave one there."
        )
    if unreadable:
        raise unreadable[0]
    others = ", ".join(source.name for source in everything) or "none"
    raise FileNotFoundError(
        f"no {wanted} with a CSV of file, subject and AU columns in {manual_dir} "
        f"(others with such a CSV: {others}).\n{INSTRUCTIONS}"
    )


def _sources_in(archive: archives.Archive, manual_dir: pathlib.Path) -> list[Source]:
    sources = []
    for name in table.find_tables(archive):
        parent = name.rpartition("/")[0] or manual_dir.name
        owner = parent if archive.path == manual_dir else archive.path.name
        sources.append(Source(owner, archive.path, name))
    return sources


IMAGES = "images"  # What is counted.
DEFAULT = ActionUnitFolderConfig(name="default", description="The only data set in the manual directory.")


class Builder(alignment.AligningBuilder):
    """Reads a user's own images and CSV; the data set's README.md says how they must look."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    BUILDER_CONFIGS: ClassVar[list[ActionUnitFolderConfig]] = [DEFAULT]

    def __init__(
        self,
        *,
        aligner: alignment.Aligner | None = None,
        strict: bool = False,
        source: str | None = None,
        config: str | ActionUnitFolderConfig | None = None,
        **kwargs: Any,
    ):
        """As `alignment.AligningBuilder`; any `config` will do, and `source` is short for one.

        Args:
          aligner: Cuts out faces, for the config that stores them aligned.
          strict: Whether an image without a face is an error there.
          source: Full name of the zip or folder in the manual directory; the config is named after it.
          config: A config, or its name.
          **kwargs: Passed on.
        """
        if source is not None:
            if config is not None:
                raise ValueError(f"got both source={source!r} and config={config!r}: pass one of them.")
            config = ActionUnitFolderConfig(name=config_name(source), source=source)
        elif isinstance(config, str) and config != DEFAULT.name:
            config = ActionUnitFolderConfig(name=config)
        super().__init__(aligner=aligner, strict=strict, config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": alignment.image_feature(self.builder_config),
                    "file": tfds.features.Text(doc="As in the CSV."),
                    "subject": tfds.features.Text(doc="The person, for folds that no person straddles."),
                    "sequence": tfds.features.Text(doc="Empty where the CSV does not tell."),
                    "frame": tfds.features.Scalar(
                        np.int64, doc="Of the sequence; 0 where the CSV does not tell."
                    ),
                    "emotion": tfds.features.Text(doc="As in the CSV; empty where it does not tell."),
                    "action_units": action_units.occurrence(None),
                }
            ),
            homepage="https://www.paulekman.com/facial-action-coding-system/",
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        """As TFDS's, but never passes off what was built from another CSV as what lies in `manual_dir`."""
        if download_config and download_config.manual_dir and self.data_path.exists():
            manual_dir = pathlib.Path(download_config.manual_dir)
            if manual_dir.is_dir() and not download_config.download_mode.overwrite_dataset:
                self._check_unchanged(manual_dir)
        super().download_and_prepare(download_config=download_config, **kwargs)

    def _check_unchanged(self, manual_dir: pathlib.Path) -> None:
        try:
            source = find_source(manual_dir, self.builder_config)
        except FileNotFoundError:  # What was built stays readable without its source.
            return
        with archives.open_archive(source.archive) as archive:
            digest = hashlib.sha256(archive.read(source.table)).hexdigest()
        if digest != self.info.metadata["table_sha256"]:
            raise ValueError(
                f"{self.data_dir} was built from another CSV than {source.archive}: {source.table}. Delete "
                "that folder to build again, or keep both and load this one as "
                f"action_unit_folder/{config_name(source.name)}."
            )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        source = find_source(pathlib.Path(dl_manager.manual_dir), self.builder_config)
        with archives.open_archive(source.archive) as archive:
            units, examples = table.read(archive, source.table)
            digest = hashlib.sha256(archive.read(source.table)).hexdigest()
        self.info.metadata.update(action_units=list(units), source=source.name, table_sha256=digest)
        _report(source, units, examples)
        title = f"{self.name}/{self.builder_config.name}"
        # The CSV says how many there are.
        images = counts.Counts(title, {IMAGES: len(examples)}, total=False, strict=self._strict)
        return {
            "train": self._image_examples(
                "train",
                source.archive,
                functools.partial(list_images, name=source.table),
                functools.partial(read_image, aligner=self._aligner),
                sequences.Tally(images, {}, title, self._strict),
            )
        }


def list_images(archive: archives.Archive, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name in the archive of each image of the CSV `name`, and its example without `image`."""
    _, examples = table.read(archive, name)
    yield from sorted(examples.items())


def read_image(
    archive: archives.Archive, item: tuple[str, dict[str, Any]], aligner: alignment.Aligner | None
) -> sequences.Frame:
    """Returns the frame of an image; `aligner` is the builder's."""
    name, example = item
    image, _ = archive.read_image(name)
    stored = alignment.stored(image, None, aligner)
    if stored is None:
        return sequences.Frame(name, "", reason=sequences.NO_FACE)
    return sequences.Frame(name, IMAGES, {**example, "image": stored}, key=example["file"])


def _report(source: Source, units: tuple[int, ...], examples: dict[str, dict]) -> None:
    subjects = {example["subject"] for example in examples.values()}
    occurrence = np.stack([example["action_units"]["occurrence"] for example in examples.values()])
    coded = np.stack([example["action_units"]["coded"] for example in examples.values()])
    print(f"\naction_unit_folder, from {source.archive}: {source.table}")
    print(f"{len(examples):,} images of {len(subjects):,} subjects\n{'':6}{'coded':>9}{'present':>9}")
    for column, unit in enumerate(units):
        print(f"AU{unit:<4}{coded[:, column].sum():9,}{occurrence[:, column].sum():9,}")
