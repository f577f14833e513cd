#!/usr/bin/env bash
# Makes the pictures and outputs that README.md and docs/INSIDE.md show, then writes them into the pages: trains `quick`
# twice and three runs to compare, some eight minutes on two cores, and asks SmolLM2 a question. Chromium, if it is
# installed, opens the explorer for its pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
outputs=assets/outputs pictures=assets/pictures
mkdir -p $pictures

[ -d data/shakespeare_char ] || ./datagen.py
./train.py quick --trace --dry-run | sed '1,/compare tokenizers\.$/d' > $outputs/trace.txt
./train.py quick | grep -v '^    |' > $outputs/train.txt  # without the samples
rm -rf runs/plain && mv runs/quick runs/plain
./train.py quick --trace-every 20
./plot.py runs/quick --out assets/training_curves/quick.png
./sample.py runs/quick > $outputs/quick.txt
python benchmarks/looks.py runs/quick > $outputs/looks.md

./sample.py --pretrained smollm2-135m-instruct --chat "Why is the sky blue?" --temperature 0 \
  | fold -s -w 100 | sed 's/ *$//' > $outputs/chat.txt

printf 'To be, or not to be, that is the question:\nWhether tis nobler in the mind to suffer\n' > runs/hamlet.txt
./sample.py runs/quick --explain --prompt "ROMEO:" --top-k 20 --max-new-tokens 30 > $outputs/explain.txt
./sample.py runs/quick --score runs/hamlet.txt > $outputs/score.txt

./plot.py attention runs/quick --prompt "To be, or" --out $pictures/attention.png
./plot.py gradients runs/quick --out $pictures/gradients.png
./plot.py tokens runs/hamlet.txt runs/quick --out $pictures/tokens.png
./plot.py embeddings runs/quick --neighbours e t I --out $pictures/embeddings.png
./plot.py architecture runs/quick --out $pictures/architecture.png

for tokenizer in char word bpe; do
  size=$([ $tokenizer = bpe ] && echo "--vocab-size 1024" || true)
  # shellcheck disable=SC2086
  ./datagen.py --tokenizer $tokenizer $size --out data/compare_$tokenizer
  ./train.py quick --steps 1000 --warmup 100 --eval-every 100 --eval-tokens -1 --data data/compare_$tokenizer --out runs/compare_$tokenizer
done
./plot.py compare runs/compare_char runs/compare_word runs/compare_bpe --out $pictures/compare.png

python docs/explorer/build.py runs/quick
PYTHONPATH=tests/browser:. python - $pictures <<'PYTHON'
import sys, tempfile
from pathlib import Path
from webdriver import CHROME, DRIVER, Browser
if not (CHROME and DRIVER):
    sys.exit("no Chromium and chromedriver: no new pictures of the page")
with Browser(tempfile.mkdtemp()) as browser:
    browser.resize(1000)
    browser.open(Path("docs/explorer/index.html").resolve().as_uri() + "#token=3&layer=1&head=2")
    browser.screenshot(Path(sys.argv[1], "explore.png"), "#overview", "#attention")
    browser.screenshot(Path(sys.argv[1], "explore_backward.png"), "#backward")
PYTHON

python assets/crop.py assets/training_curves/quick.png $pictures/readme_curves.png 0.02 0.35
python docs/build.py
