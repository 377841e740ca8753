"""The ablation of Table IV, its baselines and the lambda sweep of Fig. 4; goes on when it was killed.

`python -m trainers.ablate --workdir=runs/ablation --seeds=0,1,2 --lambdas=0.25,4`. Each row and seed is a run
of `trainers.pretrain`, then one of `trainers.evaluate` for each protocol, in a directory of its own: what is
done is not done again, and the table is printed as it fills.
"""

import dataclasses
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
from absl import app, flags, logging

from trainers import data, features, figures, pretrain_flags, probe, published, results, workdir

FLAGS = flags.FLAGS
# What a row changes in the recipe. The first five are Table IV's.
VARIANTS = {
    "emoco": {},
    "no_mq": {"dictionary": "shared"},
    "no_n": {"normalization": "l2"},
    "contrastive_only": {"normalization": "l2", "emotion_weight": 0},
    # Alone, lambda would but scale the learning rate.
    "emotion_only": {"contrastive_weight": 0, "emotion_weight": 1},
    "moco_v2": {"dictionary": "shared", "normalization": "l2", "emotion_weight": 0},
    "untrained": {"max_steps": 0},
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One program to run.

    Attributes:
        title: for the person who waits.
        done: the file that it writes last.
        command: its arguments.
    """

    title: str
    done: pathlib.Path
    command: list[str]


def define_flags():
    """What is trained, and how it is measured."""
    flags.DEFINE_string("workdir", "runs/ablation", "where runs and tables go")
    flags.DEFINE_string("probe_dataset", "synthetic_faces", "TFDS name of faces with action units")
    flags.DEFINE_multi_enum(
        "variant", list(VARIANTS), list(VARIANTS), "a row of the table; may be repeated; default all"
    )
    flags.DEFINE_list("seeds", ["0"], "each row is trained once with each")
    flags.DEFINE_list("lambdas", [], "also with these --emotion_weight, with and without N, for Fig. 4")
    flags.DEFINE_list("protocols", ["linear", "finetune"], "of trainers.evaluate")
    flags.DEFINE_list("emotions", [], "also the linear protocol inside each of these emotions only")
    flags.DEFINE_integer("max_faces", None, "evaluate on at most so many faces of each split")
    flags.DEFINE_string("pretrain_flags", "", "for every pretraining, e.g. '--dataset=fer2013 --epochs=10'")
    flags.DEFINE_string("evaluate_flags", "", "for every evaluation, e.g. '--threshold=train'")
    flags.DEFINE_string("finetune_flags", "", "for every finetuning, e.g. '--epochs=3'")
    data.define_flags()


def main(_):
    """Run what is not done yet; print the table after each evaluation, draw the figures at the end."""
    logging.set_verbosity(logging.WARNING)
    directory = pathlib.Path(FLAGS.workdir)
    try:
        variants = {**{name: VARIANTS[name] for name in FLAGS.variant}, **lambda_variants(FLAGS.lambdas)}
        names = ("probe_dataset", "max_faces", "pretrain_flags", "evaluate_flags", "finetune_flags")
        workdir.open_workdir(directory, {name: FLAGS[name].value for name in names})
        pending = [job for job in jobs(directory, variants) if not job.done.exists()]
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    start = time.monotonic()
    for number, job in enumerate(pending):
        left = (time.monotonic() - start) / number * (len(pending) - number) / 60 if number else None
        estimate = "" if left is None else f"; about {left:.0f} minutes left"
        print(f"{job.title} ({number + 1} of {len(pending)}{estimate})", flush=True)
        code = subprocess.run([sys.executable, "-m", *job.command], check=False).returncode
        if code or not job.done.exists():
            sys.exit(
                f"error: {job.title} ended with code {code}, its reason is above; the same command goes on "
                "from there"
            )
        if job.done.name == "encoder.keras":
            # They are nine times the encoder, and served a killed pretraining only.
            shutil.rmtree(job.done.parent / "checkpoints", ignore_errors=True)
        if job.done.name == "scores.json":
            print(write_tables(directory, variants), flush=True)
    print(write_tables(directory, variants))
    draw(directory, variants)


def lambda_variants(lambdas: list[str]) -> dict[str, dict]:
    """Two rows for each lambda of (1), with and without N.

    Raises:
        ValueError: one is not a positive number.
    """
    found = {}
    for text in lambdas:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0.0 < value < float("inf"):
            raise ValueError(f"--lambdas must be positive numbers with commas between them; got {text!r}")
        found[f"lambda_{value:g}"] = {"emotion_weight": value}
        found[f"lambda_{value:g}_no_n"] = {"emotion_weight": value, "normalization": "l2"}
    return found


def jobs(directory: pathlib.Path, variants: dict[str, dict]):
    """All programs in the order in which they run: one seed of all rows before the next.

    Raises:
        ValueError: a seed is no number, or a protocol unknown.
    """
    if not all(seed.strip().isdecimal() for seed in FLAGS.seeds):
        raise ValueError(f"--seeds must be numbers with commas between them; got {','.join(FLAGS.seeds)}")
    unknown = [protocol for protocol in FLAGS.protocols if protocol not in ("linear", "finetune")]
    if unknown:
        raise ValueError(f"--protocols must be of linear and finetune; got {unknown[0]!r}")
    where = [f"--{name}={FLAGS[name].value}" for name in ("data_dir", "manual_dir") if FLAGS[name].value]
    for seed in map(int, FLAGS.seeds):
        for name, changes in variants.items():
            run = directory / f"{name}-seed{seed}"
            yield Job(
                f"{run.name}: pretraining", run / "encoder.keras", pretraining(run, changes, seed) + where
            )
            for kind in evaluations():
                command = evaluation(directory, run, kind) + where
                yield Job(f"{run.name}: {kind} protocol", run / kind / "scores.json", command)


def pretraining(run: pathlib.Path, changes: dict, seed: int) -> list[str]:
    """The command that trains one row."""
    given = shlex.split(FLAGS.pretrain_flags)
    if changes.get("contrastive_weight") == 0:
        # `trainers.pretrain` refuses settings of a branch that is not there.
        given = [
            flag for flag in given if flag.lstrip("-").split("=")[0] not in pretrain_flags.CONTRASTIVE_ONLY
        ]
    own = [f"--{name}={value}" for name, value in changes.items()]
    return ["trainers.pretrain", *given, *own, f"--seed={seed}", f"--workdir={run}", "--probe_faces=0"]


def evaluations() -> list[str]:
    """Names of the evaluations of each row: the protocols, then `linear-<emotion>`."""
    return [*FLAGS.protocols, *(f"linear-{emotion}" for emotion in FLAGS.emotions)]


def evaluation(directory: pathlib.Path, run: pathlib.Path, kind: str) -> list[str]:
    """The command that measures one row."""
    protocol, _, emotion = kind.partition("-")
    command = ["trainers.evaluate", f"--encoder={run / 'encoder.keras'}", f"--dataset={FLAGS.probe_dataset}"]
    command += [f"--protocol={protocol}", f"--cache_dir={directory / 'features'}"]
    command += [f"--workdir={run / kind}", *shlex.split(FLAGS.evaluate_flags)]
    command += [f"--emotion={emotion}"] if emotion else []
    command += shlex.split(FLAGS.finetune_flags) if protocol == "finetune" else []
    return command + ([f"--max_faces={FLAGS.max_faces}"] if FLAGS.max_faces else [])


def write_tables(directory: pathlib.Path, variants: dict[str, dict]) -> str:
    """Write `ablation.txt` and `ablation.json` of what is done so far; returns the text."""
    texts, found = [], {}
    for kind in evaluations():
        done = {name: load(directory, name, kind) for name in variants}
        rows = [row(n, variants[n], done, FLAGS.probe_dataset, kind) for n in variants if done[n]]
        found[kind] = rows
        texts.append(text_table(rows, f"average F1 in %, {kind} protocol, {FLAGS.probe_dataset}"))
    workdir.write_text(directory / "ablation.json", json.dumps(found, indent=1))
    text = "\n\n".join(texts)
    workdir.write_text(directory / "ablation.txt", text + "\n")
    return text


def load(directory: pathlib.Path, name: str, kind: str) -> dict[int, tuple]:
    """What is done of one row: seed -> (average F1 in percent, predictions)."""
    paths = {int(seed): directory / f"{name}-seed{int(seed)}" / kind for seed in FLAGS.seeds}
    return {
        seed: (
            results.read(path)["average"]["f1"],
            results.load(path / "predictions.npz"),
        )
        for seed, path in paths.items()
        if (path / "scores.json").exists()
    }


def row(name: str, changes: dict, done: dict, dataset: str, kind: str) -> dict:
    """One row of the table as JSON can hold it; F1 in percent.

    Args:
        name: of the row.
        changes: what it changes in the recipe.
        done: of every row what `load` gives.
        dataset: that it was measured on.
        kind: linear, finetune or linear-<emotion>.

    Returns:
        `name`, `parts` as Table IV marks them, `f1` of each seed, their `mean` and `deviation`, the `paper`'s
        F1 or None, and `emoco_minus`: the paired bootstrap over people, on the seeds that both have, or None.
    """
    f1 = [value for value, _ in done[name].values()]
    parts = parts_of(changes)
    # Where the recipe's lambda is the paper's, and all emotions are evaluated.
    in_paper = name in VARIANTS and kind in ("linear", "finetune")
    return {
        "name": name,
        "parts": parts,
        "f1": f1,
        "mean": float(np.mean(f1)),
        "deviation": float(np.std(f1, ddof=1)) if len(f1) > 1 else None,
        "paper": published.ablation(dataset, kind == "finetune", parts) if in_paper else None,
        "emoco_minus": None if name == "emoco" else compare(done.get("emoco", {}), done[name]),
    }


def compare(one: dict[int, tuple], two: dict[int, tuple]) -> dict[str, float] | None:
    """`results.compare` on the seeds that both rows have; None if there is none."""
    both = [seed for seed in one if seed in two]
    if not both:
        return None
    return results.compare(*(results.pool([done[seed][1] for seed in both]) for done in (one, two)))


def parts_of(changes: dict) -> dict[str, bool] | None:
    """Which parts of EmoCo a row has, as Table IV marks them; None of an untrained encoder."""
    if "max_steps" in changes:
        return None
    contrastive = changes.get("contrastive_weight") != 0
    return {
        "MQ": changes.get("dictionary") != "shared",
        "L_cont": contrastive,
        "L_emo": changes.get("emotion_weight") != 0,
        "N": contrastive and changes.get("normalization") != "l2",
    }


def text_table(rows: list[dict], title: str) -> str:
    """Rows as aligned text."""
    lines = [title]
    lines.append(
        f"{'':18}"
        + "".join(f"{part:>7}" for part in published.PARTS)
        + "   seeds   F1     ±   paper  EmoCo minus it (95%)"
    )
    for r in rows:
        marks = "".join(f"{'x' if r['parts'] and r['parts'][part] else '-':>7}" for part in published.PARTS)
        numbers = f"{len(r['f1']):8}{r['mean']:6.1f}"
        numbers += f"{results.number(r['deviation']):>6}{results.number(r['paper']):>7}"
        c = r["emoco_minus"]
        minus = f"  {c['difference']:+.1f} ({c['low']:+.1f} to {c['high']:+.1f})" if c else ""
        lines.append(f"{r['name']:18}{marks}{numbers}{minus}")
    return "\n".join(lines)


def draw(directory: pathlib.Path, variants: dict[str, dict]):
    """Fig. 4 where there are lambdas, Fig. 5 where EmoCo and the emotion classifier are trained."""
    if FLAGS.lambdas:
        figures.lambda_sweep(directory / "fig4.png", sweep(directory, variants))
        print(f"wrote {directory / 'fig4.png'}")
    if {"emoco", "emotion_only"} <= set(variants):
        builder = data.prepare(FLAGS.probe_dataset, FLAGS.data_dir, FLAGS.manual_dir)
        faces = probe.load(builder, FLAGS.max_faces)
        runs = {"emotion only": "emotion_only", "EmoCo": "emoco"}
        x = {title: features_of(directory, name, builder, faces) for title, name in runs.items()}
        figures.visualization(directory / "fig5.png", x, faces)
        print(f"wrote {directory / 'fig5.png'}")


def sweep(directory: pathlib.Path, variants: dict[str, dict]) -> dict[str, list[tuple]]:
    """For Fig. 4: curve -> (lambda, mean F1, deviation or None), the recipe's own lambda among them."""
    run = directory / f"{next(iter(variants))}-seed{int(FLAGS.seeds[0])}"
    recipe = features.read_run(run / "encoder.keras")["settings"]["emotion_weight"]
    curves = {}
    for kind, rows in json.loads((directory / "ablation.json").read_text()).items():
        for r in rows if kind in FLAGS.protocols else []:
            if r["name"] in ("emoco", "no_n") or r["name"].startswith("lambda_"):
                curve = f"{kind}, {'with' if r['parts']['N'] else 'without'} N"
                value = variants[r["name"]].get("emotion_weight", recipe)
                curves.setdefault(curve, []).append((value, r["mean"], r["deviation"]))
    return {curve: sorted(points) for curve, points in curves.items()}


def features_of(directory: pathlib.Path, name: str, builder, faces: probe.Faces) -> np.ndarray:
    """The features that the linear protocol saw, of the first seed."""
    run = directory / f"{name}-seed{int(FLAGS.seeds[0])}"
    encoder, size = features.load_encoder(run / "encoder.keras")
    digest, crop = features.digest(run / "encoder.keras"), features.center_crop(run / "encoder.keras")
    return features.cached(directory / "features", digest, encoder, builder, faces, size, crop)


if __name__ == "__main__":
    define_flags()
    app.run(main)
