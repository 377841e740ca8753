"""`python flag_values.py PROGRAM`: every flag below with every text below, and what came of it.

A program of `test_flag_values.py`: two programs define flags of one name, so each needs a process. Prints
JSON: a list of (flag, text, value, message), value the text of what it became, None where it was refused.
"""

import dataclasses
import json
import sys

from absl import flags

from trainers import evaluate_flags, presets, pretrain_flags

TEXTS = (
    *("", "x", "nan", "inf", "-inf", "-1", "-0.5", "0", "0.0", "1", "0.5", "0.999", "2", "33", "64", "1.0"),
    *("1e400", "9" * 30, "9" * 5000, "true", "resnet18", "alexnet", "sgd", "adamw", "l2", "intra_class"),
    *("shared", "moving", "1,1", "1,2,4", "1,x", ",", "٣", "train", "--", "2147483645", "2147483646"),
)
PRETRAIN = [field.name for field in dataclasses.fields(presets.Preset)]
PRETRAIN += ["seed", "max_steps", "probe_faces", "virtual_devices"]
EVALUATE = ["action_units", "seeds", "threshold", "epochs", "batch_size", "base_learning_rate", "max_faces"]


def pretrain(name):
    settings = pretrain_flags.settings()
    return getattr(settings, name) if hasattr(settings, name) else flags.FLAGS[name].value


def evaluate(name):
    evaluate_flags.check()
    if name == "threshold":
        return evaluate_flags.threshold()
    return evaluate_flags.integers(name) if name in ("action_units", "seeds") else flags.FLAGS[name].value


def main(program):
    define, read, names, given = {
        "pretrain": (pretrain_flags.define, pretrain, PRETRAIN, ["--preset=paper"]),
        "evaluate": (evaluate_flags.define, evaluate, EVALUATE, ["--encoder=x", "--protocol=finetune"]),
    }[program]
    define()
    found = []
    for name in names:
        for text in TEXTS:
            flags.FLAGS.unparse_flags()
            try:
                flags.FLAGS([program, *given, f"--{name}={text}"])
                found.append((name, text, read(name), ""))
            except (flags.Error, ValueError) as error:
                found.append((name, text, None, str(error)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
