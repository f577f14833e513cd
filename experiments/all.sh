#!/usr/bin/env bash
# Every training and every table and picture of docs/EXPERIMENTS.md: some four hours on two cores, what is done is not
# done again. Runs stay in runs/, where each can be sampled from and drawn.
set -euo pipefail
cd "$(dirname "$0")/.."
outputs=assets/outputs curves=assets/training_curves

# train NAME PRESET [FLAG ...]: the run runs/NAME, or what is left of it
train() {
  python - "$@" <<'PYTHON'
import sys
from experiments.runs import ROOT, trained
trained(ROOT / "runs" / sys.argv[1], *sys.argv[2:])
PYTHON
}

for preset in char hamlet dropout words_sgd words_adam words_adamw; do
  train $preset $preset
  ./plot.py runs/$preset --out $curves/$preset.png
done
for preset in char; do
  ./sample.py runs/$preset --max-new-tokens 500 > $outputs/$preset.txt
done
./sample.py runs/hamlet --prompt "The " --max-new-tokens 100 > $outputs/hamlet.txt
./plot.py curves runs/words_sgd runs/words_adam runs/words_adamw --title "The same model of words" --out $curves/words.png
python experiments/report.py runs/quick runs/char runs/hamlet runs/dropout runs/words_sgd runs/words_adam \
  runs/words_adamw runs/shakespeare_char > $outputs/experiments.md

train levels quick --eval-every 20
python experiments/levels.py runs/levels runs/shakespeare_char > $outputs/levels.md
python experiments/normal.py
python experiments/ablations.py > $outputs/ablations.md
