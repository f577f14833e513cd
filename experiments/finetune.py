#!/usr/bin/env python3
"""Fine-tune SmolLM2-135M by LoRA on Tiny Shakespeare, beside a model trained from scratch for about as long.

    python experiments/finetune.py > assets/outputs/finetune.md

The presets smollm2_lora and best_10min: together half an hour on two cores. They are kept in runs/finetune/, and
complete ones are not trained again. Both hold out the same end of the text.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown, measured_on
from experiments.runs import load_data, train_run, training_parser
from numpygpt.data import TokenDataset, eval_batches
from numpygpt.models import GPT
from numpygpt.parallel.threads import DataParallel
from numpygpt.plots.runs import RunData
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.prompts import prompt_ids
from numpygpt.training.base import Base
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.restore import restore
from numpygpt.training.trainer import evaluate
from numpygpt.utils import cli
from numpygpt.utils.cores import cores
from numpygpt.utils.text import duration
from numpygpt.utils.units import bits_per_byte

TUNED, SCRATCH = "smollm2_lora", "best_10min"
PROMPT, LENGTH = "ROMEO:\n", 100
COLUMNS = ("preset", "parameters that learn", "steps", "tokens read", "took", "bits per byte before", "after")


def main() -> None:
    parser = training_parser(__doc__, "finetune")
    parser.add_argument("--presets", nargs=2, default=(TUNED, SCRATCH), help="what to fine-tune, and from scratch")
    args = parser.parse_args()
    runs = [train_run(args.runs / Path(preset).stem, preset, *args.more) for preset in args.presets]
    print("\n".join([measured_on("numpy"), "", *report(*runs)]))


def report(tuned: RunData, scratch: RunData) -> list[str]:
    """Return the table of both runs, and a sample before and after fine-tuning."""
    base, dataset = base_of_run(tuned), load_data(tuned.folder)
    before, tokenizer = base.model(), base.tokenizer()
    rows = [row(tuned, f"{validation_bits(before, dataset):.3f}"), row(scratch, "")]
    lines = [*markdown(COLUMNS, rows), ""]
    for title, model in (("Before", before), ("After", restore(tuned.folder)[0])):
        lines += [f"{title}:", "", "```text", sample(model, tokenizer), "```", ""]
    return lines[:-1]


def row(run: RunData, before: str) -> list[str]:
    """Return one run's row: `after` is on the whole validation split."""
    checkpoint = load_checkpoint(run.folder / "ckpt.npz", only="model/")
    learned = sum(array.size for array in checkpoint.arrays.values())
    return [run.folder.name, f"{learned:,}", f"{run.total('step'):,}", f"{run.total('tokens'):,}",
            duration(run.total("seconds")), before, f"{float(run.metrics.eval['whole_bits'][-1]):.3f}"]


def base_of_run(run: RunData) -> Base:
    return Base.find(load_checkpoint(run.folder / "ckpt.npz", only="model/").header["base"]["name"])


def validation_bits(model: GPT, dataset: TokenDataset) -> float:
    """Return the bits per byte of a model on the whole validation split, in windows of 256 tokens as in training."""
    with DataParallel(model, cores()) as parallel:
        loss = evaluate(parallel, eval_batches(dataset.val, 2 * cores(), min(256, model.max_len), len(dataset.val) - 1))
    return bits_per_byte(loss, len(dataset.val) - 1, dataset.val_bytes)


def sample(model: GPT, tokenizer: Tokenizer) -> str:
    ids = model.generate([prompt_ids(tokenizer, PROMPT)], min(LENGTH, model.max_len), temperature=0.8, seed=0)
    return tokenizer.decode(np.asarray(ids[0])).strip()


if __name__ == "__main__":
    cli.run(main)
