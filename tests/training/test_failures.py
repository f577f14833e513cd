"""Data files that change while a run reads them."""

import pytest
from tiny import make_data

from numpygpt.data import TokenDataset
from numpygpt.training.failures import DataFiles, DataGone


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_file_of_another_size_is_found_whichever_way_it_changed(tmp_path, part):
    data = make_data(tmp_path / "data")
    files, path = DataFiles(TokenDataset.load(data)), data / f"{part}.bin"
    content = path.read_bytes()
    files.check()
    for other in (content + b"\0", content[:-1]):
        path.write_bytes(other)
        with pytest.raises(DataGone, match=rf"{part}\.bin.*{len(content):,}.*{len(other):,}"):
            files.check()
    path.write_bytes(content)
    files.check()
    path.unlink()
    with pytest.raises(DataGone, match=rf"{part}\.bin"):
        files.check()
