"""A learned last stage beside fixed fusion weights: trained on SciPy's and pandas' documentation, tested on NumPy's.

Run: python experiments/learned.py. The first run encodes both collections, some minutes. Queries are made, not judged: the first
lines of docstrings. Candidates are BM25's 100; the features are the scores of three stages, min-max within each query, as
the fusion reads them. Differences are paired over queries, with 95 % intervals.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import lightgbm
import numpy as np
import pandas as pd
import pyterrier as pt
from ir_measures import RR, nDCG
from sklearn.linear_model import LogisticRegression

import pt_cascade as ptc
from pt_cascade.analysis.choice.intervals import estimate

if TYPE_CHECKING:
    from pt_cascade.collections import Collection

TRAIN, TEST, DEPTH, QUERIES = "pydocs/all:scipy,pandas", "pydocs:numpy", 100, 400
WEIGHTS = {"bm25": 0.4, "bi_encoder": 0.3, "late_interaction": 0.3}  # the best on cranfield
BASE = "fused, weights of cranfield"
EQUAL = dict.fromkeys(WEIGHTS, 1.0)
MEASURES = [nDCG @ 10, RR @ 10]


class Probability(LogisticRegression):
    """A logistic regression whose predictions are probabilities, as a ranker needs them."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Probability:
        """Fit to relevant or not."""
        super().fit(features, labels > 0)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of relevance."""
        found: np.ndarray = self.predict_proba(features)[:, 1]
        return found


def make_features(collection: Collection) -> pt.Transformer:
    """Give BM25's candidates the scores of three stages as features."""
    stored = ptc.store_collection(collection)
    rerankers = ptc.stages.bi_encoder(stored.vectors), ptc.stages.late_interaction(vectors=stored.vectors)
    return (
        ptc.stages.bm25(stored.index) % DEPTH
        >> (pt.Transformer.identity() ** rerankers[0] ** rerankers[1])
        >> pt.apply.generic(scale)
    )


def scale(results: pd.DataFrame) -> pd.DataFrame:
    """Scale each feature to 0 to 1 within each query; one that does not vary is 0."""
    features = np.stack(results["features"].to_numpy())
    grouped = pd.DataFrame(features).groupby(results["qid"].to_numpy())
    low, width = grouped.transform("min").to_numpy(), (grouped.transform("max") - grouped.transform("min")).to_numpy()
    scaled = np.divide(features - low, width, out=np.zeros_like(features), where=width > 0)
    return results.assign(features=list(scaled))


def learn(features: pd.DataFrame, held: int, qrels: pd.DataFrame) -> dict[str, pt.Transformer]:
    """Fit two learners on the same features; the last queries, ``held``, stop the second."""
    ranker = lightgbm.LGBMRanker(
        num_leaves=7, min_child_samples=50, learning_rate=0.05, n_estimators=100, verbose=-1, random_state=0
    )
    learners = {
        "logistic regression": pt.ltr.apply_learned_model(Probability(class_weight="balanced")),
        "LambdaMART": pt.ltr.apply_learned_model(ranker, form="ltr"),
    }
    last = features["qid"].isin(features["qid"].unique()[-held:])
    learners["logistic regression"].fit(features, qrels)
    learners["LambdaMART"].fit(features[~last], qrels, features[last], qrels)
    return learners


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    train, test = ptc.open_collection(TRAIN), ptc.open_collection(TEST)
    asked, topics = train.judged().sample(QUERIES, random_state=0), test.judged()
    learners = learn(make_features(train).transform(asked), QUERIES // 5, train.qrels)
    print(f"{TRAIN}: {len(train):,} documents, {QUERIES} queries; {TEST}: {len(test):,} documents, {len(topics)} queries")
    print(f"weights of the regression: {' '.join(f'{weight:.2f}' for weight in learners['logistic regression'].learner.coef_[0])}")
    cascade = ptc.parse_cascade(f"bm25 % {DEPTH} >> bi_encoder >> late_interaction", test)
    scored, features = ptc.score(cascade, topics), make_features(test).transform(topics)
    fixed = {
        "BM25": cascade.prefix(1),
        "late interaction": cascade,
        "fused, equal weights": cascade.fused(EQUAL),
        BASE: cascade.fused(WEIGHTS),
    }
    systems = {name: one.finish(scored) for name, one in fixed.items()}
    systems |= {name: learner.transform(features) for name, learner in learners.items()}
    values = pt.Experiment([*systems.values()], topics, test.qrels, MEASURES, names=[*systems], perquery=True)
    table = values.pivot_table(index=["name", "qid"], columns="measure", values="value")
    base = table.loc[BASE, "nDCG@10"]
    print("| system | nDCG@10 | RR@10 | nDCG@10 less that of the fixed weights |\n|---|---|---|---|")
    for name in systems:
        of_system = table.loc[name]
        apart = "" if name == BASE else estimate((of_system["nDCG@10"] - base).to_numpy())
        print(f"| {name} | {of_system['nDCG@10'].mean():.3f} | {of_system['RR@10'].mean():.3f} | {apart} |")


if __name__ == "__main__":
    main()
