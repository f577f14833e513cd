"""How a run starts: from a preset and flags, from another run's parameters, or where a run was stopped."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from numpygpt.data import TokenDataset, load_corpus, prepare
from numpygpt.data.meta import existing_folder
from numpygpt.data.recipes import TOKENIZERS, folder_of, make_command, recipe
from numpygpt.optim.lr_scheduler import warmup_cosine
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.training.base import Base, adopted, base_of
from numpygpt.training.checkpoint import MODEL_KEYS, Checkpoint, find_checkpoint, load_checkpoint
from numpygpt.training.config import SETTINGS, Config
from numpygpt.training.flags import given
from numpygpt.training.model_check import check_model, run_config
from numpygpt.training.presets import filled, read_preset
from numpygpt.training.trainer import workers_of
from numpygpt.utils.fetch import Progress
from numpygpt.utils.lock import check_unlocked
from numpygpt.utils.paths import command, display_path
from numpygpt.utils.progress import ProgressBars

MAX_FULL_LR = 1e-4  # the usual learning rate of fine-tuning all weights is at most this
OF_LORA = ("lora_alpha", "lora_targets", "lora_dropout")  # settings that need a lora_rank
JUMP = 0.1  # a change of the learning rate by more than this fraction is reported


class Start(NamedTuple):
    """A run before its first step: configuration, the checkpoint that it resumes from or None, the model that it starts
    from or is an adapter for, if any, and notes for the user."""

    config: Config
    checkpoint: Checkpoint | None
    base: Base | None
    notes: list[str]


def new_run(args: Namespace, progress: Progress | None = None) -> Start:
    """A new run. `init_from` gives it the parameters of another run, or of a pretrained model."""
    config, flags, base = read_preset(args.preset or "shakespeare_char"), given(args), None
    if name := flags.get("init_from", config.init_from):
        base = Base.find(name, progress)
        config = adopted(config, base, flags)
    values = filled(config, flags)
    notes = [f"{name} {values[name]:g} is scaled with `{follows}`; set `{name}` to change that"
             for name, follows in (("warmup", "steps"), ("min_lr", "lr")) if name in values and name not in flags]
    config = config.changed(values)
    if base and base.checkpoint is None and not config.lora_rank and config.lr > MAX_FULL_LR:
        notes.append(f"all weights of a pretrained model learn: `lr` {config.lr:g} is high for that, and the model may "
                     "forget what it knew. 1e-5 to 1e-4 is usual; for LoRA, give a `lora_rank`")
    if config.lora_rank and not base:
        raise ValueError("`lora_rank` trains a small addition to a model that has learned already: give that model as "
                         "`init_from`, or leave `lora_rank` out")
    if not config.lora_rank and (unused := [name for name in flags if name in OF_LORA]):
        raise ValueError(f"`{unused[0]}` changes nothing without LoRA: give a `lora_rank` such as 8, or leave "
                         f"`{unused[0]}` out")
    if not args.dry_run:
        check_data(config)
        check_unlocked(Path(config.out))
        check_free(Path(config.out))
    return Start(config, None, base, notes)


def resume_run(args: Namespace, checkpoint: Checkpoint, group: Group = LOCAL) -> Start:
    """A run that continues where it stopped, from what `read_run` has read."""
    flags = given(args)
    if args.preset or "init_from" in flags:
        raise ValueError("`resume` takes everything from the run: give neither a preset nor `init_from` with it")
    try:
        base = base_of(checkpoint.header)
    except ValueError as error:
        raise ValueError(f"{display_path(checkpoint.path)} cannot be resumed: {error}") from error
    old = run_config(checkpoint)
    old = replace(old, model=replace(old.model, vocab_size=checkpoint.header["model"]["vocab_size"]))
    keep_fixed({s.key: s.value(old) for s in SETTINGS if s.fixed}, flags, "a resumed run keeps its")
    if "out" in flags:
        raise ValueError("a resumed run stays in its own folder: leave out `out`")
    values = {"out": str(checkpoint.path.parent.resolve()), "warmup": old.warmup} | flags
    if "eval_tokens" not in checkpoint.header["config"]:
        values = {"eval_tokens": -1} | values  # an older version started it: every evaluation reads all tokens
    if flags.get("steps", old.steps) < checkpoint.header["step"]:
        raise ValueError(f"the run has done {checkpoint.header['step']:,} steps already: `steps` must be at least that")
    config = old.changed(filled(old, values))
    return Start(config, checkpoint, base, jumps(checkpoint.header, old, config, group))


def read_run(args: Namespace, group: Group = LOCAL) -> Checkpoint:
    """The checkpoint to resume from, checked. Rank 0 alone reads it, and the other ranks get its header, so only the
    machine of rank 0 needs the run folder."""
    if group.rank:
        path, header = group.share(None)[0]
        return Checkpoint(path, header, {})
    path = Path(args.resume) / "ckpt.npz"
    if (advice := from_best(path)) and not path.exists():
        raise FileNotFoundError(f"{display_path(args.resume)} has no ckpt.npz to resume{advice}")
    path = find_checkpoint(args.resume, prefer=("ckpt.npz",))
    if not args.dry_run:
        check_unlocked(path.parent)
    checkpoint = load_checkpoint(path, needs=MODEL_KEYS, advice=from_best(path))
    check_model(checkpoint)
    group.share((checkpoint.path, checkpoint.header))
    return checkpoint


def jumps(header: dict[str, Any], old: Config, new: Config, group: Group = LOCAL) -> list[str]:
    """Notes on settings that change the run from one step to the next."""
    step, notes = header["step"], []
    rates = [warmup_cosine(at, c.lr, c.min_lr, c.warmup, c.steps) for at, c in ((max(step - 1, 0), old), (step, new))]
    planned = warmup_cosine(step, old.lr, old.min_lr, old.warmup, old.steps)
    if new.steps > step and abs(rates[1] - planned) > JUMP * max(planned, rates[1]):
        times = f" ({rates[1] / rates[0]:,.3g} times)" if rates[0] else ""
        notes.append(f"the learning rate goes from {rates[0]:.3g} in step {step:,} to {rates[1]:.3g} in step "
                     f"{step + 1:,}{times}: its schedule now has {new.steps:,} steps, {new.warmup:,} of them warm-up. "
                     f"To keep it low, add `lr={old.min_lr or rates[0]:.3g}`. For a schedule with its own warm-up, "
                     f"start a new run with `init_from={display_path(new.out)}`")
    before = len({name.split(".")[0] for name in header.get("generators", {})})
    now = workers_of(new, group) * group.size
    if before and before != now:
        ranks = f" ({group.size} ranks)" if group.size > 1 else ""
        notes.append(f"{before} workers before, {now} now{ranks}: sums are rounded differently and dropout draws other "
                     "masks, so the run is not the same to the last bit")
    if new.eval_tokens != old.eval_tokens and "eval_tokens" in header["config"]:
        notes.append("evaluations now read other tokens, so their losses compare only roughly with earlier ones, and "
                     "the best one is chosen among both")
    return notes


def from_best(path: Path) -> str:
    """What to do if `path`, the checkpoint of a run, is damaged: best.npz holds a model alone, which begins a run."""
    best, config = path.with_name("best.npz"), path.with_name("config.toml")
    if not best.is_file() or best == path:
        return ""
    preset = [display_path(config)] if config.is_file() else []
    new = display_path(path.parent.with_name(f"{path.parent.name}_again"))
    return (f"; start a new run with the parameters of {display_path(best)}: "
            + command("train.py", *preset, "--init-from", display_path(best), "--out", new))


def changes(checkpoint: Checkpoint | None, config: Config) -> str:
    """The settings that differ from before in a resumed run, as `; lr 0.001 -> 0.0005`."""
    old = checkpoint.header["config"] if checkpoint else {}
    new = config.to_dict()
    return "".join(f"; {name} {old[name]} -> {new[name]}" for name in old if name != "out" and old[name] != new[name])


def keep_fixed(fixed: dict[str, object], flags: dict[str, object], rule: str) -> None:
    """Raise ValueError for a flag that contradicts a fixed setting."""
    for name, value in flags.items():
        if fixed.get(name, value) != value:
            raise ValueError(f"{rule} {name} of {fixed[name]}; for another one start a new run")


def check_data(config: Config) -> None:
    """Raise FileNotFoundError if the data folder is missing and not one that `open_data` makes."""
    folder = existing_folder(Path(config.data))
    if not folder.is_dir() and recipe(folder) is None:
        TokenDataset.load(folder)


def check_free(out: Path) -> None:
    """Raise ValueError if the folder holds a run: it is never overwritten."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{display_path(out)} is a file; give a folder as `out`")
    metrics = out / "metrics.jsonl"
    if (out / "ckpt.npz").exists() or (metrics.exists() and metrics.stat().st_size):
        shown = display_path(out)
        way = f"resume it with {command('train.py', '--resume', shown)}, or "
        raise ValueError(f"{shown} already holds a run; {way if (out / 'ckpt.npz').exists() else ''}"
                         "give another folder as `out`")


def open_data(config: Config, make: bool, say: Callable[[str], None]) -> TokenDataset:
    """Open the data folder. If a preset's folder is missing and `make` allows it, make it as datagen.py would. If its
    text cannot be fetched, another text is used, in a folder with another name."""
    asked = Path(config.data)
    folder = existing_folder(asked)
    if folder != asked:
        say(f"note: {display_path(asked)} is missing, so {display_path(folder)} is used, which was made because Tiny "
            f"Shakespeare could not be fetched. To try it again: {make_command(asked)}")
    settings = recipe(folder)
    if make and settings is not None and not folder.exists():
        say(f"{display_path(folder)} is missing: making it, as {make_command(folder)} would")
        with ProgressBars() as progress:
            corpus = load_corpus(settings.get("dataset", "default"), progress=progress)
            for note in corpus.notes:
                say(note)
            more = {name: value for name, value in settings.items() if name not in ("dataset", "out")}
            if (name := more.get("tokenizer")) and name not in TOKENIZERS:
                more["tokenizer"] = str(Base.pretrained(name, progress).path)
            folder = folder_of(corpus.name, folder) if "dataset" not in settings else folder
            prepare(corpus, folder, say=say, progress=progress, **more)
    try:
        dataset = TokenDataset.load(folder)
    except FileNotFoundError as error:
        itself = settings is not None and not folder.exists()
        raise FileNotFoundError(f"{error}{', or leave out `dry_run`: train.py makes it' if itself else ''}") from error
    shortest = min(len(dataset.train), len(dataset.val))
    if (context := config.model.max_len) >= shortest:
        raise ValueError(f"a context of {context:,} needs more than {context:,} tokens in each part, and "
                         f"{display_path(folder)} has {shortest:,} in the smaller one: give a smaller `context`, or a "
                         "longer text to datagen.py")
    return dataset
