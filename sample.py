#!/usr/bin/env python3
"""Generate text with a trained model: a run of yours, or a pretrained model.

    ./sample.py                          the newest run in runs/
    ./sample.py runs/quick --prompt "ROMEO:" --temperature 0.8
    ./sample.py --pretrained smollm2-135m-instruct --chat "Why is the sky blue?"
    ./sample.py --explain                what the model expected at each step, and what was drawn
    ./sample.py --score FILE             how well the model predicts a text, token by token
"""

from numpygpt import startup

if __name__ == "__main__":
    startup.begin()  # before the other imports: it reports missing packages in one line

import sys
from argparse import Namespace
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from numpygpt.data.user_text import read_ids, read_prompt
from numpygpt.inspection.explain import Explanation, legend
from numpygpt.inspection.score import score_text
from numpygpt.inspection.score_report import COLUMNS, report
from numpygpt.models import GPT
from numpygpt.models.generate import Sampling, blas_for, steps
from numpygpt.nn.backend import choose
from numpygpt.nn.modules.int8 import int8_layers
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.prompts import check_stop, remarks
from numpygpt.training.restore import Source, restore
from numpygpt.utils import cli
from numpygpt.utils.colour import colours, harmless, room
from numpygpt.utils.progress import ProgressBars

LENGTH, EXPLAINED_LENGTH = 500, 30  # tokens of a sample
OF_SCORE = ("run", "pretrained", "device", "int8", "score")  # what goes with --score


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("run", nargs="?", type=cli.name,
        help="a run folder (its best checkpoint) or a checkpoint file (default: the newest run in runs/)")
    add("--pretrained", type=cli.name, metavar="NAME",
        help="a pretrained model instead of a run: a name such as smollm2-135m-instruct or gpt2, which is fetched once "
             "into a cache folder, or a model's folder or .gguf file")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", default="", metavar="TEXT",
                        help="the text to continue; may be empty. The name of a special token, such as "
                             "<|endoftext|>, becomes that token")
    prompt.add_argument("--prompt-file", type=cli.name, metavar="FILE",
                        help="read the prompt from a file, or from standard input (-)")
    prompt.add_argument("--chat", metavar="TEXT",
                        help="ask a pretrained chat model, in its chat template; prints the answer")
    add("--max-new-tokens", type=int, metavar="N",
        help=f"length of each sample in tokens (default: {LENGTH}, with --explain {EXPLAINED_LENGTH})")
    add("--temperature", type=float, default=0.8, metavar="X",
        help="0 always takes the most likely token; higher values give more varied text")
    add("--top-k", type=int, metavar="N", help="draw only from the N most likely tokens")
    add("--top-p", type=float, metavar="X", help="draw only from the most likely tokens with total probability X")
    add("--stop", metavar="TEXT", help="end a sample at this text, which is not printed")
    add("--num-samples", type=int, default=1, metavar="N", help="number of samples, each with its own seed")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same text")
    add("--slide", type=int, default=1, metavar="N",
        help="once the context is full, move it by N tokens at a time: 1 uses most context, more is faster")
    add("--device", default="auto", metavar="NAME",
        help="cpu, cuda or cuda:N (an NVIDIA GPU, through CuPy); auto: a GPU if it can be used")
    add("--int8", action="store_true",
        help="hold large matrices in 8 bits: a quarter of the memory; the text may differ a little")
    add("--explain", action="store_true",
        help="show for each step the most likely tokens with their probabilities, and the rank and surprise of the "
             "token that was drawn")
    add("--score", type=cli.name, metavar="FILE",
        help="generate nothing: show how well the model predicts the text of a file, or of standard input (-)")
    args = parser.parse_args(argv)
    if args.score is not None:
        given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
        if others := [f"--{name.replace('_', '-')}" for name in given if name not in OF_SCORE]:
            parser.error(f"--score generates no text: leave {', '.join(others)} out")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {args.num_samples}")
    if args.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {args.seed}")
    place, why = choose(args.device)
    with ProgressBars() as bars:
        model, tokenizer, source = restore(args.run, args.pretrained, int8=args.int8, progress=bars)
    model.to(place)
    bits = ", large matrices in 8 bits" if int8_layers(model) else ""
    source = replace(source, device=f"{place.name} ({cli.with_flags(why)}){bits}")
    if args.score is not None:
        return score(args.score, model, tokenizer, source)
    stop_notes = []
    if args.stop is not None:
        check_stop(args.stop, tokenizer)
        stop_notes = remarks("--stop", args.stop, tokenizer)
    ends = end_tokens(source, tokenizer)
    if args.chat is not None:
        prompt, notes = "", remarks("--chat", args.chat, tokenizer)
        context, answered = chat_ids(source, model, tokenizer, args.chat)
        ends |= answered
    else:
        prompt, context, notes = read_prompt(tokenizer, args.prompt, args.prompt_file, "the prompt")
    length = args.max_new_tokens if args.max_new_tokens is not None else EXPLAINED_LENGTH if args.explain else LENGTH
    sampling = Sampling(args.temperature, args.top_k, args.top_p)

    def sample(i: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return steps(model, np.asarray([context]), length, sampling, args.seed + i, None, args.slide)

    sample(0)  # raises errors before anything is printed
    introduce(source, tokenizer, [*stop_notes, *notes])
    colour, visible = colours(sys.stdout), harmless if sys.stdout.isatty() else str
    if args.explain:
        write(f"{legend(tokenizer, sampling, colour)}\n")
    with blas_for(model):
        for i in range(args.num_samples):
            if args.num_samples > 1:
                print(f"--- sample {i + 1}" if i == 0 else f"\n--- sample {i + 1}", flush=True)
            if args.explain:
                explanation = Explanation(tokenizer, sampling, lambda words: write(f"\n{words}\n"), colour)
                text = "".join(text_of(explanation.watch(sample(i)), tokenizer, context, args.stop, ends))
                write(f"\n--- {explanation.summary()}\n--- the text\n{visible(prompt + text)}")
                continue
            write(visible(prompt))
            for text in text_of((ids for ids, _ in sample(i)), tokenizer, context, args.stop, ends):
                write(visible(text))
    write("\n")
    return 0


def score(name: str, model: GPT, tokenizer: Tokenizer, source: Source) -> int:
    """Print how well the model predicts the text of this file."""
    given = read_ids(tokenizer, name)
    progress = tqdm(total=len(given.ids), unit="token", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
    with given.noted(), progress as bar:
        found = score_text(model, tokenizer, given.start, given.ids, bar.update, given.n_bytes)
    introduce(source, tokenizer, given.notes)
    for line in report(tokenizer, found, colours(sys.stdout), room(sys.stdout, COLUMNS)):
        write(f"{line}\n")
    return 0


def introduce(source: Source, tokenizer: Tokenizer, notes: Iterable[str]) -> None:
    """Print which model this is, and the notes."""
    for line in [source.describe(tokenizer), f"device: {source.device}", *(f"note: {note}" for note in notes)]:
        print(line, file=sys.stderr, flush=True)


def end_tokens(source: Source, tokenizer: Tokenizer) -> set[int]:
    """Return the ids with which a pretrained model ends a text; a run of one's own has learned none."""
    if source.checkpoint:
        return set()
    from numpygpt.models.pretrained.chat import generation_stops

    return set(generation_stops(source.path, tokenizer))


def chat_ids(source: Source, model: GPT, tokenizer: Tokenizer, text: str) -> tuple[list[int], set[int]]:
    """Return the ids of a message in the model's chat template, and those that end an answer."""
    folder = source.pretrained()
    if folder is None:
        raise ValueError("--chat needs a pretrained chat model, with --pretrained NAME, or a run that started from "
                         "one: give another run a --prompt")
    from numpygpt.models.pretrained.chat import Chat

    chat = Chat.of(folder)
    ids = chat.ids(tokenizer, text)
    if len(ids) >= model.max_len:
        raise ValueError(f"--chat: the message has {len(ids):,} tokens, and the model's context of {model.max_len:,} "
                         "has no room for an answer: give a shorter one")
    return ids, {tokenizer.special_tokens[name] for name in chat.stops}


def text_of(steps: Iterator[np.ndarray], tokenizer: Tokenizer, context: list[int], stop: str | None,
            ends: Collection[int] = ()) -> Iterator[str]:
    """Yield the sample's text as it comes: whole characters only, and nothing from the stop text, or from one of the
    tokens `ends`, on."""
    decoder, held = tokenizer.stream(), ""
    for id in context:
        decoder.push(id)  # the prompt is printed already, but the space after it depends on it
    for ids in steps:
        if int(ids[0]) in ends:
            break
        if int(ids[0]) < tokenizer.vocab_size:  # a model may have more, which are no text
            held += decoder.push(int(ids[0]))
        if stop and stop in held:
            yield held[: held.index(stop)]
            return
        keep = partial_stop(held, stop) if stop else 0  # the stop text may begin here
        yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    held += decoder.flush().rstrip("\ufffd")  # the bytes of an unfinished character
    yield held[: held.index(stop)] if stop and stop in held else held


def partial_stop(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` with which `stop` begins."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    cli.run(main)
