"""The model card of an export: what it is, what it was trained on, how well it does, and what it is not for.

JSON for programs and Markdown for people, the same content.
"""

import json
import pathlib

from keras_emoco import augment
from trainers import features, workdir

# What the owners say; each data set's README has the whole of it.
DATA_LICENCES = {
    "synthetic_faces": "that of keras_emoco, Apache-2.0; the faces are drawn and show nobody",
    "fer2013": "the authors state none; the terms of the page it was downloaded from",
    "affectnet": "for research, by a signed agreement with the owner",
    "rafdb": "for non-commercial research, by agreement with the owner",
    "disfa": "for research, by a signed agreement with the owner",
    "bp4d": "for research, by a signed agreement with the owner",
    "gft": "annotations CC BY 4.0; videos for research, by a signed agreement with the owner",
}
INTENDED_USE = (
    "Research on facial expression: features of one frontal face for a classifier of action units, or a "
    "start for training one. The picture must be cropped, and aligned as the training faces were."
)
LIMITS = (
    "It finds no faces. An action unit is a movement of the face, not what a person feels or intends. Scores "
    "hold for people, cameras and light like those of the data, and can differ between groups of people; "
    "measure them on your own before relying on them. Not for decisions about a person."
)


def describe(source: pathlib.Path, network, name: str, output: pathlib.Path, difference: float) -> dict:
    """The card of an export, as JSON can hold it.

    Args:
        source: the `.keras` file; the run's `config.json` and `f1.txt` are looked for beside it.
        network: the `formats.Network` that was exported.
        name: of the format.
        output: the export.
        difference: largest difference of its outputs from Keras's.
    """
    size = network.image_size
    run = features.read_run(source)
    settings = run.get("settings", {})
    dataset = settings.get("dataset")
    licence = DATA_LICENCES.get(str(dataset).split("/")[0], "not known: ask the owner of the data")
    shorter = round(size * 256 / 224)
    f1 = source.with_name("f1.txt")
    return {
        "name": output.name,
        "model": "action unit detector" if network.detector else "encoder",
        "format": name,
        "source": {"file": source.name, "sha256": features.digest(source)},
        "architecture": network.encoder.name,
        "features": network.encoder.output_shape[-1],
        "action_units": network.action_units,
        "preprocessing": {
            "image": f"float32 (batch, {size}, {size}, 3), RGB, (pixel / 255 - mean) / std",
            "mean": list(augment.MEAN),
            "std": list(augment.STD),
            "view": f"shorter side to {shorter} pixels, central {size} x {size}; bilinear, with antialiasing"
            if network.center_crop
            else f"whole picture to {size} x {size} pixels; bilinear, with antialiasing",
        },
        "training": {"command": run.get("command"), "settings": settings, "versions": run.get("versions")},
        "data": {"dataset": dataset, "licence": licence if dataset else "not known: no config.json of a run"},
        "f1": f1.read_text() if f1.is_file() else None,
        "largest_difference_from_keras": difference,
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
    }


def write(card: dict, output: pathlib.Path) -> None:
    """Write `<output>.card.json` and `<output>.card.md`."""
    workdir.write_text(output.with_name(f"{output.name}.card.json"), json.dumps(card, indent=1))
    workdir.write_text(output.with_name(f"{output.name}.card.md"), markdown(card))


def markdown(card: dict) -> str:
    """The card for people."""
    view = card["preprocessing"]
    what = f"{card['architecture']}, {card['features']} features"
    if card["action_units"]:
        what += f", probabilities of {', '.join(card['action_units'])}"
    settings = card["training"]["settings"]
    rows = [f"| {name} | {value} |" for name, value in settings.items()]
    recipe = (
        ["| setting | value |", "| --- | --- |", *rows] if rows else ["Not known: no config.json of a run."]
    )
    f1 = ["```", card["f1"].rstrip(), "```"] if card["f1"] else ["Not measured in this run."]
    of_what = "on people not trained on" if card["action_units"] else "of a linear classifier on the features"
    lines = [
        f"# {card['name']}",
        "",
        f"EmoCo {card['model']} ({what}), exported by keras_emoco as {card['format']} from "
        f"{card['source']['file']} (SHA-256 begins {card['source']['sha256']}). Its outputs differ from "
        f"Keras's by at most {card['largest_difference_from_keras']:.1e}.",
        "",
        "## Input",
        "",
        f"{view['image']}; mean {view['mean']}, std {view['std']}. View of a picture: {view['view']}.",
        "",
        "## Data",
        "",
        f"{card['data']['dataset'] or 'Not known'}. Licence: {card['data']['licence']}.",
        "",
        "## Recipe",
        "",
        *recipe,
        "",
        f"## F1 in % {of_what}",
        "",
        *f1,
        "",
        "## Intended use",
        "",
        card["intended_use"],
        "",
        "## Limits",
        "",
        card["limits"],
    ]
    return "\n".join(lines) + "\n"
