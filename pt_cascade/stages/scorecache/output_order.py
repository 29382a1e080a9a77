"""What a stage makes of its scores: the order of its rows, and its tie rule; narrowed from its answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.tie_rules import EVERY_RULE, PLAIN, TieRule, choose_rule, narrow_rules, static_keys
from pt_cascade.errors import StageError
from pt_cascade.ranking import is_ranking, ranks

if TYPE_CHECKING:
    from pt_cascade.analysis.table.tie_rules import Order, TieRules
    from pt_cascade.ranking import Floats, Ints

_WHOLE = 2**53


class OutputOrder(NamedTuple):
    """What is known of the order in which a stage returns its scores: the tie rules that agree with all its answers."""

    rules: TieRules = EVERY_RULE

    def observe(self, given: pd.DataFrame, answer: pd.DataFrame, place: Ints, name: str) -> OutputOrder:
        """Narrow the rules by one more answer, Frame[qid, docno, score, rank], whose rows are at ``place`` in ``given``."""
        score, rules = read_scores(answer, name), self.rules
        tells = np.full(len(answer), len({rule.rows for rule in rules}) > 1) | answer.duplicated(["qid", "score"], keep=False)
        if len(rules) > 1 and tells.any():
            rules = narrow_rules(rules, _add_rank(given).iloc[np.sort(place[tells])], answer[tells])
        if rules and is_ranking(answer["qid"], score, answer["rank"].to_numpy(np.float64)):
            return OutputOrder(rules)
        problem = "it orders its rows or equal scores by no known rule (as given, by rank, docno or docid, with ranks from 0)"
        order = "found.sort_values(['qid', 'score'], ascending=[True, False])"
        stage = f"stage >> pt.apply.generic(lambda found: pt.model.add_ranks({order}))"
        fix = f"cached({stage}, path, identity='its model, version and settings', depends='pointwise')"
        raise StageError(f"the scores of stage {name!r} cannot be cached", [problem], fix=fix)

    def put(self, given: pd.DataFrame, score: Floats) -> pd.DataFrame:
        """Return the rows of ``given`` with score and rank, as the stage would; queries that are sorted stand by qid."""
        rule = choose_rule(self.rules)
        rank = _rank(rule.ties, given, score)
        out = given.assign(score=score, rank=rank)
        if rule.rows == "given":
            return out
        order = np.lexsort((_key(rule.rows, given, rank), pd.factorize(given["qid"], sort=True)[0]))
        return out.iloc[order]

    def find_question(self, given: pd.DataFrame, score: Floats) -> list[int] | None:
        """Find two rows of a query that two of the rules put in opposite orders; None where all rules agree on this frame."""
        query = pd.factorize(given["qid"])[0]
        ties = sorted({rule.ties for rule in self.rules})
        if not pd.DataFrame({"query": query, "score": score}).duplicated().any():
            ties = ties[:1]
        ranked = [_rank(order, given, score) for order in ties]
        by_row = [_key(order, given, ranked[0]) for order in sorted({rule.rows for rule in self.rules})]
        for keys in (ranked, by_row):
            one, *others = (np.lexsort((key, query)) for key in keys)
            for other in others:
                if (differ := np.flatnonzero(one != other)).size:
                    return sorted({int(one[differ[0]]), int(other[differ[0]])})
        return None

    def write(self) -> str:
        """Return what is known as JSON."""
        return json.dumps(sorted(self.rules))

    @classmethod
    def read(cls, words: str) -> OutputOrder:
        """Read the JSON of ``write``."""
        return cls(frozenset(TieRule(*rule) for rule in json.loads(words)))


ADD_RANKS = OutputOrder(frozenset({PLAIN}))


def read_scores(answer: pd.DataFrame, name: str) -> Floats:
    """Read the scores of an answer, of whatever number type; NaN where one is missing.

    Example:
        >>> read_scores(pd.DataFrame({"score": pd.array([1.5, None], dtype="Float64")}), "toy").tolist()
        [1.5, nan]
    """
    try:
        score: Floats = answer["score"].to_numpy(np.float64, na_value=np.nan)
        problem = ""
    except (TypeError, ValueError) as error:
        score, problem = np.empty(0), f"they are not numbers: {error}"
    if pd.api.types.is_integer_dtype(answer["score"].dtype) and (np.abs(score) > _WHOLE).any():
        problem = f"they are whole numbers beyond {_WHOLE}, which float64 rounds"
    if problem:
        raise StageError(f"the scores of stage {name!r} cannot be cached", [problem], fix="return a column score of floats")
    return score


def _add_rank(given: pd.DataFrame) -> pd.DataFrame:
    return given if "rank" in given else given.assign(rank=np.arange(len(given)))


def _rank(ties: Order, given: pd.DataFrame, score: Floats) -> Ints:
    """Rank by score, equal scores by a tie rule."""
    if ties == "given":
        return ranks(given["qid"], score)
    rank, order = np.empty(len(given), np.int64), np.argsort(_key(ties, given, _add_rank(given)["rank"].to_numpy()), kind="stable")
    rank[order] = ranks(given["qid"].iloc[order], score[order])
    return rank


def _key(order: Order, given: pd.DataFrame, rank: Ints) -> Ints:
    """Give each row its place in an order, where ``rank`` is the one that counts."""
    place = np.arange(len(given))
    return rank if order == "rank" else place if order == "given" else static_keys(given, [order]).get(order, place)
