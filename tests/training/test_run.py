"""What a run says of its own speed."""

import pytest
from tiny import TINY, make_data

from numpygpt.training import Trainer
from numpygpt.training.run import Run
from numpygpt.training.start import begun
from numpygpt.utils.data import TokenDataset
from numpygpt.utils.metrics import MetricsLog
from train import parse


def test_the_last_line_counts_all_steps_and_what_is_left_goes_by_the_latest(tmp_path, capsys):
    config, _ = begun(parse([*TINY, "--data", str(make_data(tmp_path / "data")), "--out", str(tmp_path / "run")]))
    (tmp_path / "run").mkdir()
    with MetricsLog(tmp_path / "run" / "metrics.jsonl") as log:
        run = Run(Trainer(config, TokenDataset.load(config.data)), tmp_path / "run", log)
        run.step_times = [0.002] * 300 + [0.1] * 200  # the machine has become slower
        run.trainer.step = 10
        assert run.left() == pytest.approx(20 * 0.1)
        run.trainer.step, run.trainer.best = config.steps, {"step": 30, "val_loss": 2.5}
        run.trainer.last = run.trainer.best
        run.finish()
    assert "done: 30 steps in 0 s, 2 ms a step; best validation loss 2.5000 at step 30" in capsys.readouterr().out
