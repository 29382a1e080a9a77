"""The words of documents and queries as an index has them, by its language.

========== ============================================================ ======================== =============
language   a word is                                                    stems and stop words     engine
========== ============================================================ ======================== =============
english    a run of ASCII letters and digits                            those of the engine      PISA, Terrier
any        a run of letters, marks and digits of any script, lower case neither                  Terrier
french, …  as for ``any``                                               Snowball's stems         Terrier
========== ============================================================ ======================== =============

PISA also drops what follows an apostrophe (``dog's`` is ``dog``, ``o'reilly`` is ``o``, a stop word) and the points of an
abbreviation (``U.S.A.`` is ``usa``).

In all languages but English, Korean and scripts that write no spaces (Chinese, Japanese, Thai, ...) are cut into overlapping pairs
of letters, as by Lucene's CJKAnalyzer. ``build_index`` writes the language into the index folder, for the queries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar
from unicodedata import category, name, normalize

import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.columns import explain_columns
from pt_cascade.checksums import SUMS
from pt_cascade.errors import warn
from pt_cascade.frames import check_text
from pt_cascade.numbers import count_of
from pt_cascade.progress import show_progress
from pt_cascade.stages.base.identity import check_files

ENGLISH, ANY = "english", "any"
SNOWBALL = "danish dutch finnish french german hungarian italian norwegian portuguese romanian russian spanish swedish turkish"
FILE = "language.txt"
SCORES = "bm25.*"  # what PISA writes for new parameters
_SHOWN = 20  # queries between two steps of a progress bar
_LONGEST = 60  # bytes of a word that Terrier's lexicon holds
_NOT_ENGLISH = re.compile("[^A-Za-z0-9]+")
_SIGN = re.compile(r"[^\w\s]|_")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_ALONE = re.compile(rf"(?<!\S){_UNSPACED.pattern[:-1]}(?!\S)")
_TERRIER_QL = re.compile(r"^applypipeline:off |#\w+[:(]|\^\d")  # what PyTerrier's rewriters write


def plain_words(text: str, language: str | None) -> str:
    """Return the words of a document or query with a space between; language None: unknown, nothing is cut into pairs.

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
    """Return the script of a letter.

    Example:
        >>> script_of("a"), script_of("é"), script_of("я"), script_of("東")
        ('ASCII', 'LATIN', 'CYRILLIC', 'CJK')
    """
    return "ASCII" if letter.isascii() else name(letter, "OTHER").split()[0]


def _warn_of(problem: str, qids: list[str], queries: dict[str, str]) -> None:
    """Warn of queries that find nothing, or less than they ask for."""
    if qids:
        found = f"{count_of(len(qids), 'query')} with {problem}, e.g. qid {qids[0]!r}, {queries[qids[0]]!r:.80}"
        warn(f"bm25: {found}")


def read_language(index: Path) -> str | None:
    """Return the language an index folder was built for; None where it is not recorded."""
    return (index / FILE).read_text() if (index / FILE).is_file() else None


@dataclass(frozen=True)
class IndexFiles:
    """The files of an index, without the scores that PISA adds for other parameters."""

    path: str

    def files(self) -> list[Path]:
        """List them."""
        found = (file for file in sorted(Path(self.path).glob("[!.]*")) if file.is_file())
        return [file for file in found if file.name != SUMS and not file.match(SCORES)]


@dataclass(frozen=True)
class BagOfWords(pt.Transformer):  # type: ignore[misc]
    """The retriever of an engine on the words of each query: punctuation separates words, as in documents.

    PISA finds the words itself. Queries that PyTerrier's rewriters (RM3, SDM, ...) write in Terrier's language are not changed.

    Attributes:
        retriever: PyTerrier's.
        language: The language of the index; None: unknown.
        index: The files that the retriever has opened.
        rewrites: Whether it gets the words instead of the query.
        verbose: Whether it shows progress.
    """

    retriever: pt.Transformer = field(hash=False)  # equal ones of PyTerrier have different hashes
    language: str | None
    index: IndexFiles
    rewrites: bool = True
    verbose: bool = False

    depends: ClassVar[str] = "pointwise"
    documents: ClassVar[str] = "any"
    stage_name: ClassVar[str] = "bm25"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve for Frame[qid, query, ...], or score Frame[qid, query, docno, ...]; columns of the input stay."""
        check_files(self)
        if "query" not in inp or "query_toks" in inp:
            with explain_columns(self.stage_name, inp):
                return self.retriever.transform(inp)  # type: ignore[no-any-return]
        known, rewritten = inp.dropna(subset=["query"]) if self.rewrites else inp, "query_0" in inp  # a union may leave some out
        check_text(known, "query", self.stage_name)
        given = dict(zip(known["qid"].astype(str), known["query"], strict=True))
        words = {
            qid: text if rewritten and _TERRIER_QL.search(text) else plain_words(text, self.language) for qid, text in given.items()
        }
        _warn_of("no word that the index can contain", [qid for qid, text in words.items() if not text], given)
        _warn_of(
            "a lone letter, which is in the index in pairs only", [qid for qid, text in words.items() if _ALONE.search(text)], given
        )
        if not self.rewrites:
            # PISA fails on NUL and what is not UTF-8, and may end the process
            words = {qid: text.encode(errors="replace").decode().replace("\0", " ") for qid, text in given.items()}
        rows = inp.assign(query=inp["qid"].astype(str).map(words))
        found = self._retrieve(rows[rows["query"] != ""])  # PyTerrier skips the others, with a warning
        return found.assign(query=found["qid"].astype(str).map(given))

    def _retrieve(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Run the retriever; for a progress bar some topics at a time."""
        if not self.verbose or "docno" in rows or not len(rows):
            return self.retriever.transform(rows)  # type: ignore[no-any-return]
        found: list[pd.DataFrame] = []
        with show_progress(self.stage_name, "query", len(rows), shown=True) as bar:
            for start in range(0, len(rows), _SHOWN):
                found.append(self.retriever.transform(some := rows.iloc[start : start + _SHOWN]))
                bar.update(len(some))
        return pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)

    def fuse_rank_cutoff(self, k: int) -> BagOfWords | None:
        """Pass a cut-off to the retriever, for PyTerrier's compiler."""
        return (fused := self.retriever.fuse_rank_cutoff(k)) and replace(self, retriever=fused)
