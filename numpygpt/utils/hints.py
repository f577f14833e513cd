"""Flags of other programs (nanoGPT, PyTorch's and Hugging Face's scripts), and ours for the same purpose."""

from __future__ import annotations

import argparse
import re

# Our flag, and its names elsewhere. A row is used only in a script that has the flag. The first match wins.
OTHERS = {
    "--lr": "learning-rate max-lr peak-lr base-lr initial-lr",
    "--min-lr": "min-learning-rate end-lr lr-min final-lr",
    "--d-model": "n-embd n-embed embed-dim emb-dim embedding-dim hidden-size hidden-dim d-hidden dim width model-dim",
    "--d-ff": "intermediate-size ffn-dim ff-dim d-inner n-inner d-mlp mlp-dim",
    "--max-new-tokens": "max-tokens max-length length tokens n-tokens num-tokens n-predict",
    "--context": "block-size seq-len seq-length sequence-length max-seq-len max-seq-length context-length context-size "
                 "context-window ctx ctx-len n-ctx n-positions max-position-embeddings max-len max-length window",
    "--steps": "max-iters iters iterations num-iters n-iters max-steps num-steps n-steps train-steps num-train-steps "
               "max-iterations updates total-steps",
    "--out": "out-dir output-dir output outdir o save-dir save-path run-dir checkpoint-dir ckpt-dir log-dir logdir "
             "output-file",
    "--n-layers": "n-layer num-layers layers depth num-hidden-layers n-blocks num-blocks",
    "--n-heads": "n-head num-heads heads num-attention-heads",
    "--batch-size": "bs batch micro-batch-size mini-batch-size train-batch-size per-device-train-batch-size",
    "--accumulate": "gradient-accumulation-steps grad-accum grad-accum-steps accumulation-steps accum",
    "--weight-decay": "wd decay l2 adam-weight-decay",
    "--dropout": "dropout-rate dropout-p p-drop drop attn-dropout resid-dropout embd-dropout hidden-dropout",
    "--clip": "grad-clip max-grad-norm gradient-clip clip-grad clip-grad-norm clip-norm gradient-clipping",
    "--warmup": "warmup-iters warmup-steps num-warmup-steps n-warmup warm-up lr-warmup",
    "--beta1": "adam-beta1", "--beta2": "adam-beta2",
    "--optimizer": "optim opt optimiser",
    "--eval-tokens": "eval-iters eval-batches val-batches",
    "--eval-every": "eval-interval eval-freq eval-steps eval-period val-interval val-every save-every save-interval "
                    "save-steps checkpoint-every checkpoint-interval log-interval logging-steps",
    "--activation": "act act-fn activation-function hidden-act nonlinearity",
    "--positions": "positional-encoding position-embedding pos-emb pos-embedding",
    "--tie-weights": "tie-word-embeddings weight-tying tie-embeddings",
    "--dtype": "precision torch-dtype",
    "--data": "dataset data-dir data-path dataset-path data-folder train-data train-file",
    "--input": "data dataset-file file files text-file train-file corpus input-file i",
    "--resume": "resume-from resume-from-checkpoint continue restore",
    "--init-from": "pretrained from-pretrained finetune fine-tune model-name-or-path checkpoint ckpt load init",
    "--log": "wandb wandb-log tensorboard report-to logger use-wandb",
    "--workers": "num-workers n-workers threads n-threads num-threads num-proc jobs n-jobs j nproc",
    "--seed": "random-seed manual-seed rng-seed random-state",
    "--prompt": "start seed-text text input input-text context begin",
    "--prompt-file": "start-file text-file input-file file",
    "--num-samples": "n-samples samples num-return-sequences n",
    "--temperature": "temp t",
    "--top-k": "topk k", "--top-p": "topp p nucleus",
    "--stop": "stop-token stop-text stop-string stop-sequence eos",
    "--score": "perplexity ppl evaluate eval eval-file",
    "--tokenizer": "tokenizer-type tokenizer-name encoding-name tokenizer-path tok",
    "--vocab-size": "n-vocab vocabulary-size vocab num-merges merges",
    "--min-freq": "min-frequency min-count",
    "--separator": "sep delimiter doc-separator document-separator",
    "--val-fraction": "val-size val-split val-ratio validation-split validation-fraction test-size valid-fraction",
    "--lowercase": "lower lower-case do-lower-case uncased",
    "--smooth": "smoothing ema window",
    "--gradients": "gradcheck grad-check",
}  # fmt: skip

# Flags that the scripts do not have, and what to do. A row is used only in a script with all flags in its sentence.
ABSENT = {
    "epochs num-epochs n-epochs num-train-epochs max-epochs":
        "the length of a run is counted in updates: give --steps, and --dry-run says how often they read the text",
    "gpu gpus cuda cpu mps n-gpu num-gpus devices accelerator no-cuda": "--device is auto, cpu, cuda or cuda:N",
    "device gpu cuda cpu": "this script uses the CPU: leave it out",
    "compile backend jit": "nothing is compiled: leave it out",
    "fp16 bf16 amp mixed-precision half": "--precision float16 or bfloat16, on a GPU",
    "lr-scheduler lr-schedule scheduler lr-scheduler-type decay-lr lr-decay-iters lr-decay-steps":
        "the learning rate rises over --warmup steps and then falls along a cosine to --min-lr at the last step",
    "greedy do-sample": "--temperature 0 always takes the likeliest token",
}

# Positional arguments, by name.
WITHOUT_A_FLAG = {
    "preset": "preset config config-file c cfg model model-type",
    "run": "run run-dir model model-path model-dir checkpoint ckpt ckpt-path load out-dir init-from resume path m",
    "runs": "run runs run-dir out-dir log-dir logdir path metrics",
    "file": "file text text-file input prompt-file score",
}  # fmt: skip


def hint(flag: str, parser: argparse.ArgumentParser, script: str) -> str:
    """Return `; did you mean --lr?` for another program's flag, or what to do instead, or nothing if it is unknown.
    `script` is the command that runs the parser's script."""
    actions = parser._actions
    flags = {option for action in actions for option in action.option_strings}
    name = flag.lstrip("-").replace("_", "-").lower()
    if f"--{name}" in flags:
        return f"; did you mean --{name}?"
    if not flag.startswith("-") and "--input" in flags:
        return f"; did you mean --input {flag}?"
    for ours, others in OTHERS.items():
        if ours in flags and name in others.split():
            return f"; did you mean {ours}?"
    for action in actions:
        if not action.option_strings and name in WITHOUT_A_FLAG.get(action.dest, "").split():
            words = [action.dest.rstrip("s").upper() for action in actions if not action.option_strings]
            return f"; it takes no flag: {script} {' '.join(words)}"
    for names, sentence in ABSENT.items():
        if name in names.split() and set(re.findall(r"--[a-z][a-z-]*", sentence)) <= flags:
            return f"; {sentence}"
    return ""
