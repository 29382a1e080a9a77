"""A stage that gives each document, beside its score, the probability that it is relevant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyterrier as pt

from pt_cascade.analysis.calibration.calibrators import Calibrator, Method
from pt_cascade.analysis.calibration.fitting import check_method, fit_pairs
from pt_cascade.analysis.calibration.pairs import check_rule, judged_pairs
from pt_cascade.cascade import Stage
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.errors import PipelineError, naming
from pt_cascade.frames import canonical_results
from pt_cascade.stages.base.wrapper import Wrapper
from pt_cascade.stages.calibration.artifact import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    from pt_cascade.files import PathLike

PROBABILITY = "probability"


def calibrate(
    stage: pt.Transformer, method: Method | Calibrator | Calibration = "platt", *, rel: int = 1, unjudged: float = 0.0
) -> Calibrated:
    """Add to a stage's results a column ``probability``: how likely each document is relevant, given its score.

    Score and rank stay those of the stage, so no calibration changes a ranking, a measure, or a table of scores: ``Cascade.of``,
    ``score`` and ``profile`` read a calibrated stage as the stage itself. Equal probabilities, of isotonic regression or where
    float32 rounds them to 1, keep the order of the scores.

    Fit it on training queries, by ``fit``, or from a table by ``fit_scores``. It is a PyTerrier Estimator: ``pipeline.fit(topics,
    qrels)`` fits a pipeline with one of them. With two, ``pt.Compose.fit`` gives the second results that the first has not ranked,
    so fit each by itself.

    Args:
        stage: A retriever or re-ranker.
        method: ``platt``, ``isotonic``, ``beta`` or ``temperature``; or what was fitted before: a result of ``fit_scores``, or a
            saved calibration, which is refused for another stage or model than it was fitted on.
        rel: The lowest label that is relevant, 1 or more.
        unjudged: The weight, in fitting, of an unjudged pair of a judged query, which counts as not relevant, in [0, 1]; 0 leaves
            it out.

    Returns:
        A transformer from the stage's input to its results with the column ``probability``.

    Raises:
        PipelineError: The stage is not a transformer, there is no such method, or the calibration is of another stage.
        FrameError: rel or unjudged is out of range.

    Example:
        >>> import pandas as pd
        >>> found = pd.DataFrame({"qid": "1", "docno": [f"d{n}" for n in range(12)], "score": range(12, 0, -1), "rank": range(12)})
        >>> bm25 = calibrate(pt.Transformer.from_df(found))
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> bm25.fit(topics, found[["qid", "docno"]].assign(label=[1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0]))
        >>> (bm25 % 2).transform(topics)[["docno", "probability"]].round(2).values.tolist()
        [['d0', 0.81], ['d1', 0.76]]
    """
    known = method.calibrator if isinstance(method, Calibration) else method if isinstance(method, Calibrator) else None
    made = Calibrated(stage, known.method if known else method, rel, unjudged, known)
    if isinstance(method, Calibration) and method.stage not in ("", made.fingerprint()):
        problem = "the scores that it was fitted on are of another stage, or of another model or other settings"
        raise PipelineError(
            f"this calibration is not of stage {made.stage_name!r}", [problem], fix="fit a new one: calibrate(stage)"
        )
    return made


@dataclass(frozen=True)
class Calibrated(Wrapper, pt.Estimator):  # type: ignore[misc]
    """The stage that ``calibrate`` makes; ``calibrator`` is None until it is fitted."""

    schematic: ClassVar[dict[str, str | None]] = {"label": "Calibrated", "help_url": None}

    stage: pt.Transformer
    method: Method = "platt"
    rel: int = 1
    unjudged: float = 0.0
    calibrator: Calibrator | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Refuse what is not a stage, a method or a rule."""
        if not isinstance(self.stage, pt.Transformer):
            problem = f"{self.stage!r:.60} ({type(self.stage).__name__}) is not a PyTerrier transformer"
            raise PipelineError("the scores of a stage cannot be calibrated", [problem], fix='calibrate(stage, "platt")')
        check_method(self.method)
        check_rule(self.rel, self.unjudged)

    @property
    def stands_for(self) -> pt.Transformer:
        """The stage itself, whose scores are kept and whose time is measured."""
        return self.stage

    @property
    def identify(self) -> Callable[[], dict[str, str]]:
        """That of the stage; an AttributeError if it has none."""
        own: Callable[[], dict[str, str]] = self.stage.identify
        return own

    def fit(
        self,
        topics_or_res_tr: pd.DataFrame,
        qrels_tr: pd.DataFrame,
        topics_or_res_va: pd.DataFrame | None = None,  # noqa: ARG002 - PyTerrier's signature
        qrels_va: pd.DataFrame | None = None,  # noqa: ARG002
    ) -> None:
        """Run the stage on training queries, and fit the scores of the judged pairs.

        Args:
            topics_or_res_tr: The stage's input: Frame[qid, query, ...], or Frame[qid, query, docno, ...] for a re-ranker.
            qrels_tr: Frame[qid, docno, label]; queries without a judgment are left out.
            topics_or_res_va: Not used.
            qrels_va: Not used.

        Raises:
            FrameError: The judged pairs cannot be fitted, see ``Calibrator.fit``.
        """
        results = self.stage.transform(topics_or_res_tr)
        with naming(self.stage_name):
            rows = canonical_results(results, self.stage_name)[~self._failed(results)]
            fitted = fit_pairs(judged_pairs(rows, qrels_tr, self.rel, self.unjudged), self.method, self.stage_name)
        object.__setattr__(self, "calibrator", fitted)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Run the stage and add the column ``probability``; NaN where the stage marks a row as failed.

        Args:
            inp: The stage's input.

        Returns:
            The stage's results, Frame[qid, docno, score, rank, ..., probability].

        Raises:
            PipelineError: It is not fitted.
            FrameError: A score is not on the scale of those that it was fitted on, e.g. no probability.
        """
        calibrator, results = self._fitted(), self.stage.transform(inp)
        score, good = results["score"].to_numpy(np.float64), ~self._failed(results)
        probability = np.full(len(results), np.nan)
        with naming(self.stage_name):
            probability[good] = calibrator.predict(score[good])
        with_probability: pd.DataFrame = results.assign(**{PROBABILITY: probability})
        return with_probability

    def save(self, path: PathLike) -> Calibration:
        """Write the fitted calibration, with the stage's fingerprint, to a new folder; ``pt.Artifact.load`` reads it.

        Args:
            path: A folder that does not exist yet.

        Raises:
            PipelineError: It is not fitted, or the path exists.
        """
        return Calibration(self._fitted(), self.fingerprint()).save(path)

    def fingerprint(self) -> str:
        """Hash the stage: its class, model and settings; 16 hexadecimal digits."""
        return fingerprint(Stage("stage", (self.stage,)))

    def transform_inputs(self) -> list[list[str]]:
        """Return the input columns of the stage, for PyTerrier's inspection."""
        return list(pt.inspect.transformer_inputs(self.stage))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Return the output columns of the stage and ``probability``, for PyTerrier's inspection."""
        columns = pt.inspect.transformer_outputs(self.stage, input_columns)
        return [*(column for column in columns if column != PROBABILITY), PROBABILITY]

    def _fitted(self) -> Calibrator:
        if self.calibrator is None:
            problem = "it has no calibration yet"
            raise PipelineError(f"stage {self.stage_name!r} gives no probabilities", [problem], fix="calibrated.fit(topics, qrels)")
        return self.calibrator

    def _failed(self, results: pd.DataFrame) -> NDArray[np.bool_]:
        return results[self.failed_column].to_numpy(bool) if self.failed_column in results else np.zeros(len(results), bool)
