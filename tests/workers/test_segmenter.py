"""`orograph train-segmenter`: weights that process segment takes, from towns and real places."""

import json

import numpy as np
import pytest

from processes.core.errors import GridMismatch, InvalidInput
from processes.core.process import Layer
from processes.core.raster import Grid, Raster
from processes.semantics.modelcard import read_card
from processes.semantics.weights import network
from server.cli import main
from workers.reader import Reader
from workers.segmenter import train_segmenter
from workers.workspace import LocalWorkspace


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, value in (("POOL", 1), ("RENEWED", 100), ("CROP_PX", 64), ("BATCH", 1)):
        monkeypatch.setattr(f"processes.semantics.train.{name}", value)


def labelled(folder, size=96, shifted=0):
    """Write one real place: half house, half not told."""
    work = LocalWorkspace(folder, Reader(cache=folder / "fetched", files=True))
    grid = Grid.covering((0, 0, size / 2, size / 2), 0.5, "EPSG:32631")
    moved = grid.window(shifted, 0, size, size)
    heights = np.zeros((size, size), np.float32)
    heights[:, : size // 2] = 6
    codes = (heights > 0).astype(np.uint8)
    work.write_raster("ndsm", Raster(heights, grid))
    work.write_raster(Layer("classes", "uint8"), Raster(codes, moved))


def test_the_command_writes_weights_that_can_be_used(tmp_path, capsys):
    out = tmp_path / "out"
    labelled(tmp_path / "real" / "place")
    done = main(
        ["train-segmenter", "--out", str(out), "--steps", "2", "--labels", str(tmp_path / "real"),
         "--onnx"]
    )  # fmt: skip
    assert done == 0
    assert capsys.readouterr().out.strip() == str(out / "segmenter.json")
    answers = []
    stack = np.random.default_rng(0).gamma(2, 1, (1, 7, 64, 32)).astype(np.float32)
    for name in ("segmenter.json", "segmenter-onnx.json"):
        text = (out / name).read_text()
        card = read_card(text)
        content = (out / card.href).read_bytes()
        card.check(content)
        answers.append(network(card.form, content, "cpu")[0](stack))
    assert np.abs(answers[0] - answers[1]).max() < 1e-4
    assert json.loads(text)["properties"]["mlm:hyperparameters"]["real_places"] == 1


def test_training_goes_on_from_earlier_weights(tmp_path):
    first = train_segmenter(tmp_path / "first", steps=2)
    second = train_segmenter(tmp_path / "second", steps=1, seed=7, start=first)
    said = json.loads(second.read_text())["properties"]["mlm:hyperparameters"]
    assert (said["seed"], said["before"]["steps"]) == (7, 2)
    contents = [(item.parent / "segmenter.safetensors").read_bytes() for item in (first, second)]
    stack = np.random.default_rng(0).gamma(2, 1, (1, 7, 64, 32)).astype(np.float32)
    one, other = (network("safetensors", content, "cpu")[0](stack) for content in contents)
    assert 0 < np.abs(one - other).max() < 0.5 * np.ptp(one)
    with pytest.raises(InvalidInput, match="cannot be read"):
        train_segmenter(tmp_path / "third", steps=1, start=tmp_path / "none.json")


def test_labels_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no folder"):
        train_segmenter(tmp_path / "out", steps=1, labels=tmp_path / "empty")
    labelled(tmp_path / "shifted" / "place", shifted=3)
    with pytest.raises(GridMismatch, match="place"):
        train_segmenter(tmp_path / "out", steps=1, labels=tmp_path / "shifted")
    assert main(["train-segmenter", "--out", str(tmp_path), "--steps", "0"]) == 2
