#!/usr/bin/env bash
# Run all trainings and make all tables and pictures of docs/EXPERIMENTS.md, without arguments: eight hours on two cores.
# Complete runs are not trained again, interrupted ones resume. Runs are kept in runs/, for sample.py and plot.py.
set -euo pipefail
cd "$(dirname "$0")/.."
outputs=assets/outputs curves=assets/training_curves

# train NAME PRESET [FLAG ...]: train runs/NAME, or resume it. Evaluations use all tokens, so that losses compare.
# Each of these runs has the machine to itself, because the tables report how long it took.
train() {
  python - "$@" <<'PYTHON'
import sys
from experiments.runs import train_run
from numpygpt.utils.paths import ROOT
train_run(ROOT / "runs" / sys.argv[1], *sys.argv[2:], "--eval-tokens", "-1")
PYTHON
}

[ $# -eq 0 ] || { sed -n 2,3p "$0"; exit 2; }
train quick quick
train quick_seed1 quick --seed 1
train quick_seed2 quick --seed 2
for preset in shakespeare_char char word bpe hamlet dropout words_sgd words_adam words_adamw large_char \
  best_10min best_30min best_1h; do
  train $preset $preset
done
for preset in shakespeare_char char word bpe hamlet dropout large_char best_10min best_30min best_1h; do
  ./plot.py runs/$preset --out $curves/$preset.png
done
for preset in shakespeare_char char word bpe large_char best_10min best_30min best_1h; do
  ./sample.py runs/$preset --max-new-tokens 500 > $outputs/$preset.txt
done
./sample.py runs/hamlet --prompt "The " --max-new-tokens 100 > $outputs/hamlet.txt
./plot.py compare runs/char runs/word runs/bpe --out $curves/tokenizers.png
./plot.py curves runs/words_sgd runs/words_adam runs/words_adamw --title "The same model of words" --out $curves/words.png
python experiments/report.py runs/quick runs/quick_seed1 runs/quick_seed2 runs/shakespeare_char runs/char \
  runs/word runs/bpe runs/hamlet runs/dropout runs/words_sgd runs/words_adam runs/words_adamw \
  runs/best_10min runs/best_30min runs/best_1h > $outputs/experiments.md
./plot.py compare runs/quick runs/shakespeare_char runs/best_10min runs/best_30min runs/best_1h --out $curves/best.png
{ python experiments/report.py runs/large_char; echo
  python experiments/extrapolate.py runs/large_char 5.1e6 --until 2.6e6; echo
  python experiments/extrapolate.py runs/large_char 82e6; } > $outputs/large_char.md

train levels quick --eval-every 20
python experiments/levels.py runs/levels runs/best_10min runs/best_1h > $outputs/levels.md
python experiments/normal.py
python experiments/candidates.py > $outputs/candidates.md
python experiments/spelled.py runs/char runs/word > $outputs/spelled.md
python experiments/ablations.py > $outputs/ablations.md
python experiments/modern.py > $outputs/modern.md
python experiments/local_steps.py > $outputs/local_steps.md
python experiments/finetune.py > $outputs/finetune.md
