"""The words of documents and queries as an index has them, by its language.

========== ============================================================ ======================== =============
language   a word is                                                    stems and stop words     engine
========== ============================================================ ======================== =============
english    a run of ASCII letters and digits                            those of the engine      PISA, Terrier
any        a run of letters, marks and digits of any script, lower case neither                  Terrier
french, …  as for ``any``                                               Snowball's stems         Terrier
========== ============================================================ ======================== =============

In all languages but English, Korean and scripts that write no spaces (Chinese, Japanese, Thai, ...) are cut into overlapping pairs
of letters, as by Lucene's CJKAnalyzer. ``build_index`` writes the language into the index folder, for the queries.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar
from unicodedata import category, name, normalize

import pyterrier as pt

from pt_cascade.errors import CascadeWarning

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pt_cascade.checksums import OpenFolder

ENGLISH, ANY = "english", "any"
SNOWBALL = "danish dutch finnish french german hungarian italian norwegian portuguese romanian russian spanish swedish turkish"
FILE = "language.txt"
_LONGEST = 60  # bytes of a word that Terrier's lexicon holds
_NOT_ENGLISH = re.compile("[^A-Za-z0-9]+")
_SIGN = re.compile(r"[^\w\s]|_")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_ALONE = re.compile(rf"(?<!\S){_UNSPACED.pattern[:-1]}(?!\S)")
_TERRIER_QL = re.compile(r"^applypipeline:off |#\w+[:(]|\^\d")  # what PyTerrier's rewriters write


def plain_words(text: str, language: str | None) -> str:
    """Give the words of a text with a space between.

    Args:
        text: Of a document or a query.
        language: See above; None: not known, so that nothing is cut into pairs.

    Example:
        >>> plain_words("Mach number: effects", "english"), plain_words("L'ÉTÉ, enfin!", "french"), plain_words("東京都", "any")
        ('Mach number effects', 'l été enfin', '東京 京都')
    """
    if language == ENGLISH:
        return _NOT_ENGLISH.sub(" ", text).strip()
    words = _SIGN.sub(lambda sign: sign[0] if category(sign[0]).startswith("M") else " ", normalize("NFKC", text).lower())
    if language is not None:
        words = _UNSPACED.sub(lambda run: f" {' '.join(map(''.join, zip(run[0], run[0][1:], strict=False))) or run[0]} ", words)
    return " ".join(word.encode()[:_LONGEST].decode(errors="ignore") for word in words.split())


def script_of(letter: str) -> str:
    """Name the script of a letter.

    Example:
        >>> script_of("a"), script_of("é"), script_of("я"), script_of("東")
        ('ASCII', 'LATIN', 'CYRILLIC', 'CJK')
    """
    return "ASCII" if letter.isascii() else name(letter, "OTHER").split()[0]


def _warn_of(told: str, qids: list[str], queries: dict[str, str]) -> None:
    """Say which queries find nothing, or less than they seem to ask for."""
    if qids:
        found = f"{len(qids)} query(ies) have {told}, e.g. qid {qids[0]!r}, {queries[qids[0]]!r:.80}"
        warnings.warn(f"bm25: {found}", CascadeWarning, stacklevel=3)


def read_language(index: Path) -> str | None:
    """Tell what language an index folder was built for; None where nobody wrote it down."""
    return (index / FILE).read_text() if (index / FILE).is_file() else None


@dataclass(frozen=True)
class BagOfWords(pt.Transformer):  # type: ignore[misc]
    """The retriever of an engine, asked the words of each query: punctuation in it means nothing, as it does in documents.

    PISA finds the words itself. What PyTerrier's rewriters (RM3, SDM, ...) write in Terrier's query language goes through as it is.

    Attributes:
        retriever: Of PyTerrier.
        language: Of the index; None: not known.
        index: What the retriever has opened.
        rewrites: Whether it is given the words instead of the query.
    """

    retriever: pt.Transformer = field(hash=False)  # equal ones of PyTerrier have different hashes
    language: str | None
    index: OpenFolder
    rewrites: bool = True

    depends: ClassVar[str] = "pointwise"
    documents: ClassVar[str] = "any"
    stage_name: ClassVar[str] = "bm25"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve, or score the documents that are given.

        Args:
            inp: Frame[qid, query, ...], or Frame[qid, query, docno, ...].

        Returns:
            Frame[qid, query, docno, score, rank, ...], with the queries that were given.

        Raises:
            StageError: The index was built anew, or written to, after the retriever opened it.

        Warns:
            CascadeWarning: See ``bm25``.
        """
        self.index.check(self.stage_name)
        if "query" not in inp or "query_toks" in inp:
            return self.retriever.transform(inp)  # type: ignore[no-any-return]
        known, rewritten = inp.dropna(subset=["query"]), "query_0" in inp
        given = dict(zip(known["qid"].astype(str), known["query"], strict=True))
        words = {
            qid: text if rewritten and _TERRIER_QL.search(text) else plain_words(text, self.language) for qid, text in given.items()
        }
        _warn_of("no word that the index keeps", [qid for qid, text in words.items() if not text], given)
        _warn_of(
            "a lone letter, which is in the index in pairs only", [qid for qid, text in words.items() if _ALONE.search(text)], given
        )
        if not self.rewrites:
            return self.retriever.transform(inp)  # type: ignore[no-any-return]
        rows = inp.assign(query=inp["qid"].astype(str).map(words))
        found: pd.DataFrame = self.retriever.transform(rows[rows["query"] != ""])  # PyTerrier skips the others, with a warning
        return found.assign(query=found["qid"].astype(str).map(given))

    def fuse_rank_cutoff(self, k: int) -> BagOfWords | None:
        """Answer PyTerrier's compiler."""
        return (fused := self.retriever.fuse_rank_cutoff(k)) and replace(self, retriever=fused)
