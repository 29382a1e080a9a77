"""A calibration on disk is the one that was fitted, of the stage that it was fitted on, and nothing in it runs."""

from __future__ import annotations

import json
from configparser import ConfigParser
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pyterrier as pt
import pytest
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import calibrate
from pt_cascade.analysis.calibration.calibrators import CALIBRATORS, Calibrator
from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.calibration.artifact import Calibration

ROOT = Path(__file__).parents[3]
SCORE = np.random.default_rng(0).normal(0, 2, 40)
RELEVANT = np.random.default_rng(1).random(40) < 1 / (1 + np.exp(-SCORE))
FOUND = ToyRetriever(docs=30).transform(topics(6))


def load(path: Path) -> pt.Artifact:
    """Load by the entry point that the package declares, as ``pt.Artifact.load`` does once it is installed."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["pyterrier.artifact"].strip().splitlines()
    points = dict(line.split(" = ") for line in lines)
    meta = json.loads((path / "pt_meta.json").read_text())
    loader = EntryPoint("calibration", points[f"{meta['type']}.{meta['format']}"], "pyterrier.artifact").load()
    return loader(path)


@pytest.mark.parametrize("kind", CALIBRATORS.values())
def test_what_is_read_is_what_was_fitted(tmp_path: Path, kind: type[Calibrator]) -> None:
    """To the last bit; the only file is JSON; the parameters tell two fits apart."""
    fitted = kind.fit(SCORE, RELEVANT)
    saved = Calibration(fitted).save(tmp_path / "one")
    assert load(tmp_path / "one") == saved
    assert saved.calibrator == fitted
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["pt_meta.json"]
    assert load(tmp_path / "one").calibrator.predict(SCORE).tolist() == fitted.predict(SCORE).tolist()
    Calibration(kind.fit(SCORE[1:], RELEVANT[1:])).save(tmp_path / "two")
    sums = [json.loads((tmp_path / name / "pt_meta.json").read_text())["sha256"] for name in ("one", "two")]
    assert sums[0] != sums[1]


def test_a_saved_calibration_serves_its_stage_only(tmp_path: Path) -> None:
    """Another seed stands for another model: its scores have another meaning; the cure fits it."""
    stage = ToyReranker(levels=50)
    scored = stage.transform(FOUND)
    qrels = scored[["qid", "docno"]].assign(label=((scored["score"] + 7 * scored["rank"]) % 23 < scored["score"] / 3).astype(int))
    made = calibrate(stage)
    made.fit(FOUND, qrels)
    saved = made.save(tmp_path / "platt")
    assert calibrate(ToyReranker(levels=50), Calibration.load(tmp_path / "platt")).transform(FOUND).equals(made.transform(FOUND))
    other = ToyReranker(levels=50, seed=2)
    with pytest.raises(
        PipelineError, match=r"not of stage 'toy_reranker': .*another model.*Fix: fit a new one: calibrate\(stage\)"
    ):
        calibrate(other, saved)
    assert calibrate(other).calibrator is None


def change(path: Path, **fields: object) -> None:
    """Write other fields into the metadata."""
    file = path / "pt_meta.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"scale": "logits", "slope": 99.0, "intercept": 0.0}},
        {"parameters": {"slope": 1.0}},
        {"method": "beta"},
        {"method": "other"},
        {"type": "score_table"},
        {"stage": "another"},
        {"parameters": 3},
    ],
)
def test_a_changed_file_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    """Whatever was changed in it."""
    Calibration(CALIBRATORS["platt"].fit(SCORE, RELEVANT), "stage").save(tmp_path / "one")
    change(tmp_path / "one", **fields)
    with pytest.raises(PipelineError, match=r"cannot load the calibration .*pt_meta\.json.*Fix: fit it again, and save it"):
        Calibration.load(tmp_path / "one")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "null", "\x00"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    """Neither JSON nor a calibration."""
    (tmp_path / "pt_meta.json").write_text(text)
    with pytest.raises(PipelineError, match="does not describe a calibration"):
        Calibration.load(tmp_path)


def test_folders_are_not_overwritten_or_invented(tmp_path: Path) -> None:
    """A folder that exists, one that does not, and one without the file."""
    one = Calibration(CALIBRATORS["platt"].fit(SCORE, RELEVANT))
    with pytest.raises(PipelineError, match="it exists already"):
        one.save(tmp_path)
    with pytest.raises(MissingError, match="there is no such folder"):
        Calibration.load(tmp_path / "nowhere")
    with pytest.raises(PipelineError, match="does not describe a calibration"):
        Calibration.load(tmp_path)
