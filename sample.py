#!/usr/bin/env python3
"""Write text with a trained model, from a run folder or a checkpoint alone.

    ./sample.py                          the newest run in runs/
    ./sample.py runs/quick --prompt "ROMEO:" --temperature 0.8
    ./sample.py --explain                what it expected at each step, and what it drew
    ./sample.py --score FILE             how well it predicts a text, token by token
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin()  # before the other imports: it says in one line what is not installed

import sys
from argparse import Namespace
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from numpygpt.data.user_text import known_text, read_ids, read_text
from numpygpt.inspection.explain import Explanation, legend
from numpygpt.inspection.score import score_text
from numpygpt.inspection.score_report import COLUMNS, report
from numpygpt.models import GPT
from numpygpt.models.generate import Sampling, blas_for, steps
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.prompts import check_stop, prompt_ids, remarks
from numpygpt.training.checkpoint import Checkpoint
from numpygpt.training.restore import corpus_name, restore
from numpygpt.utils import cli
from numpygpt.utils.colour import colours, harmless, room
from numpygpt.utils.paths import display_path

LENGTH, EXPLAINED = 500, 30  # tokens of a sample


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("run", nargs="?", type=cli.name,
        help="a run folder (its best checkpoint) or a checkpoint file; without it the newest run")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", default="", metavar="TEXT",
                        help="what the text begins with; it may be empty. The name of a special token, such as "
                             "<|endoftext|>, is that token")
    prompt.add_argument("--prompt-file", type=cli.name, metavar="FILE",
                        help="read the prompt from a file, - for standard input")
    add("--max-new-tokens", type=int, metavar="N",
        help=f"length of each sample in tokens (default: {LENGTH}, with --explain {EXPLAINED})")
    add("--temperature", type=float, default=0.8, metavar="X",
        help="0 is always the likeliest token, below 1 safer, above 1 wilder")
    add("--top-k", type=int, metavar="N", help="draw from the N likeliest tokens only, against rare blunders")
    add("--top-p", type=float, metavar="X", help="draw from the fewest tokens that hold this probability")
    add("--stop", metavar="TEXT", help="end a sample where this text appears, which is not printed")
    add("--num-samples", type=int, default=1, metavar="N", help="how many; each has a random generator of its own")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same text")
    add("--slide", type=int, default=1, metavar="N",
        help="past the context the window moves on by N tokens at once: 1 sees most, more is faster")
    add("--explain", action="store_true",
        help="show at each step the likeliest tokens with their probabilities, and the rank and surprise of the drawn")
    add("--score", type=cli.name, metavar="FILE",
        help="write nothing: show how well the model predicts the text of a file, - for standard input")
    args = parser.parse_args(argv)
    if args.score is not None:
        given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
        if others := [f"--{name.replace('_', '-')}" for name in given if name not in ("run", "score")]:
            parser.error(f"--score draws no tokens: leave {', '.join(others)} out")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {args.num_samples}")
    if args.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {args.seed}")
    model, tokenizer, checkpoint = restore(args.run)
    if args.score is not None:
        return score(args.score, model, tokenizer, checkpoint)
    notes = remarks("--prompt", args.prompt, tokenizer)
    if args.stop is not None:
        check_stop(args.stop, tokenizer)
        notes += remarks("--stop", args.stop, tokenizer)
    prompt = args.prompt if args.prompt_file is None else read_text(args.prompt_file, "the prompt")
    prompt, lacking = known_text(tokenizer, prompt, "the prompt")
    notes += lacking
    context = prompt_ids(tokenizer, prompt)
    length = args.max_new_tokens if args.max_new_tokens is not None else EXPLAINED if args.explain else LENGTH
    how = Sampling(args.temperature, args.top_k, args.top_p)

    def drawn(i: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return steps(model, np.asarray([context]), length, how, args.seed + i, None, args.slide)

    drawn(0)  # what cannot be drawn is said before anything is written
    print(describe(checkpoint, tokenizer), file=sys.stderr, flush=True)
    if prompt and (read := tokenizer.decode(context)) != prompt:
        notes.append(f"to this model the prompt reads {read!r}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr, flush=True)
    colour, shown = colours(sys.stdout), harmless if sys.stdout.isatty() else str
    if args.explain:
        write(f"{legend(tokenizer, how, colour)}\n")
    with blas_for(model):
        for i in range(args.num_samples):
            if args.num_samples > 1:
                print(f"--- sample {i + 1}" if i == 0 else f"\n--- sample {i + 1}", flush=True)
            if args.explain:
                explanation = Explanation(tokenizer, how, lambda words: write(f"\n{words}\n"), colour)
                text = "".join(pieces(explanation.watch(drawn(i)), tokenizer, context, args.stop))
                write(f"\n--- {explanation.summary()}\n--- the text\n{shown(prompt + text)}")
                continue
            write(shown(prompt))
            for text in pieces((ids for ids, _ in drawn(i)), tokenizer, context, args.stop):
                write(shown(text))
    write("\n")
    return 0


def score(name: str, model: GPT, tokenizer: Tokenizer, checkpoint: Checkpoint) -> int:
    """What --score does with the file of this name."""
    given = read_ids(tokenizer, name)
    progress = tqdm(total=len(given.ids), unit="token", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
    with given.noted(), progress as bar:
        found = score_text(model, tokenizer, given.start, given.ids, bar.update, given.n_bytes)
    print(describe(checkpoint, tokenizer), file=sys.stderr, flush=True)
    for note in given.notes:
        print(f"note: {note}", file=sys.stderr, flush=True)
    for line in report(tokenizer, found, colours(sys.stdout), room(sys.stdout, COLUMNS)):
        write(f"{line}\n")
    return 0


def describe(checkpoint: Checkpoint, tokenizer: Tokenizer) -> str:
    """Which model this is, in one line."""
    h = checkpoint.header
    loss = f"validation loss {h['last']['val_loss']:.3f}" if h["last"] else "not evaluated"
    if h["last"] and h["last"]["step"] != h["step"]:
        loss += f" at step {h['last']['step']:,}"
    return (f"{display_path(checkpoint.path)}: step {h['step']:,}, {loss}, "
            f"trained on {corpus_name(checkpoint)}, "
            f"{tokenizer.kind} tokenizer with {tokenizer.vocab_size:,} tokens")


def pieces(steps: Iterator[np.ndarray], tokenizer: Tokenizer, context: list[int], stop: str | None) -> Iterator[str]:
    """The sample as text, piece by piece: whole characters only, and none of the stop text or what follows it."""
    decoder, held = tokenizer.stream(), ""
    for id in context:
        decoder.push(id)  # the prompt is on the screen already, but whether a space follows it depends on it
    for ids in steps:
        held += decoder.push(int(ids[0]))
        if stop and stop in held:
            yield held[: held.index(stop)]
            return
        keep = partial(held, stop) if stop else 0  # this much may be the beginning of the stop text
        yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    held += decoder.flush().rstrip("\ufffd")  # the bytes of a character that was not finished
    yield held[: held.index(stop)] if stop and stop in held else held


def partial(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    cli.run(main)
