"""Building an index for ``bm25``, whole or not at all, quietly."""

from __future__ import annotations

import json
import warnings
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pt_cascade.checksums import build_once, check_sealed
from pt_cascade.collections.intake import LONGEST, Intake
from pt_cascade.errors import CascadeError, CascadeWarning, PipelineError
from pt_cascade.files import rm_command
from pt_cascade.stages.bm25 import Engine, bm25, check_engine, default_engine, pisa_index, terrier_index
from pt_cascade.stages.indexing.silence import hushed
from pt_cascade.stages.indexing.words import ANY, ENGLISH, FILE, SNOWBALL, script_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

_DROPPED = 0.01
_CURE = 'build_index(docs, path, engine="terrier", language="any"); for a folder: echo any > language.txt there'
_MADE_OF = "index.json"


def build_index(
    docs: Iterable[Mapping[str, str]],
    path: str | os.PathLike[str],
    *,
    engine: Engine | None = None,
    language: str | None = None,
    threads: int = 1,
    verbose: bool = False,
) -> Path:
    """Index a collection for ``bm25``, in English with the engine's own stemming and stop words, or in another language.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once, without white space and control characters, at most 256
            characters and 512 bytes of UTF-8.
        path: The folder to make; nothing is done if it is there, made of the same documents, which are read to see that. It appears
            only when it is whole.
        engine: ``pisa`` or ``terrier``; None: whoever made the folder, else PISA where it is installed and reads the language, else
            Terrier.
        language: ``english``, which keeps ASCII letters and digits only; ``any``, all scripts without stemming; or one that Terrier
            stems: danish, dutch, finnish, french, german, hungarian, italian, norwegian, portuguese, romanian, russian, spanish,
            swedish, turkish. PISA reads English. None: that of the folder, else English.
        threads: Threads of the engine.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        FrameError: A document has no text, or a docno that cannot be kept.
        MissingError: The engine is not there, or the folder is damaged.
        PipelineError: The engine or the language is unknown, or the engine does not read the language.
        CascadeError: There is no document, none with a word, or the folder was made by the other engine, for another language, of
            other documents, or not by this function.

    Warns:
        CascadeWarning: An index for English drops more than 1 % of the letters of the documents.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "index"
        >>> build_index([{"docno": "d1", "text": "a lion"}, {"docno": "d2", "text": "a bear"}], path) == path
        True
    """
    spoken = language or ENGLISH
    by, intake = engine or (default_engine() if spoken == ENGLISH else "terrier"), Intake(docs, spoken)
    check_engine(by)
    if spoken not in (spoken_by := [ENGLISH] if by == "pisa" else [ENGLISH, ANY, *SNOWBALL.split()]):
        raise PipelineError(f"language is {language!r}", [f"expected one of {', '.join(spoken_by)}, for {by}"], fix=_CURE)

    def build(folder: Path) -> None:
        with hushed() as stderr:
            intake.docs = tqdm(docs, desc=f"index ({by})", unit="doc", disable=not verbose, file=stderr)
            _index(by, folder, intake, threads)
        intake.verify()
        if not intake.words:
            problem = f"no document has a word that an index for {spoken} keeps"
            raise CascadeError("there is nothing to index", [problem], fix=_CURE)
        (folder / FILE).write_text(spoken)
        _warn_of_dropped(by, intake)
        if by == "pisa":
            bm25(folder)  # PISA writes the scores of its default k1 and b into the folder now, not when it may be read-only
            (folder / ".lock").unlink()
        made_of = {"engine": by, "language": spoken, "documents": len(intake.seen), "content": intake.content}
        (folder / _MADE_OF).write_text(json.dumps(made_of), encoding="utf-8")

    _check_made_of(build_once(Path(path), build), intake, engine, language)
    return Path(path)


def _warn_of_dropped(engine: Engine, docs: Intake) -> None:
    """Say which scripts an index for English drops."""
    shares: Counter[str] = Counter()
    for letter, number in docs.letters.items():
        shares[script_of(letter)] += number
    dropped = sum(shares.values()) - shares.pop("ASCII", 0)
    if docs.language == ENGLISH and dropped > _DROPPED * docs.letters.total():
        found = ", ".join(f"{script} {number / docs.letters.total():.1%}" for script, number in shares.most_common())
        those = f"the letters of the {len(docs.seen):,} document(s) are not ASCII"
        told = f"{found} of {those}, and an index for English keeps no other: such words are not found, or in pieces. Fix: {_CURE}"
        warnings.warn(f"engine {engine}: {told}", CascadeWarning, stacklevel=5)


def _survivable(docs: Intake) -> Iterator[dict[str, str]]:
    """End with a word where there was none: PISA aborts the process on a collection without terms, before anybody can refuse it."""
    yield from docs
    if not docs.words:
        yield {"docno": "-", "text": "word"}


def _check_made_of(path: Path, intake: Intake, engine: Engine | None, language: str | None) -> None:
    """Refuse a folder that was there and was made in another way or, which is seen when all are read, of other documents."""
    check_sealed(path, fix=rm_command(path))
    if not (path / _MADE_OF).exists():
        there = ", ".join(sorted(file.name for file in path.iterdir())[:3])
        problem = f"{path} holds {there}, ..., expected {_MADE_OF}, which says of what it was made"
        raise CascadeError("this folder is not made by build_index", [problem], fix="choose another path, or bm25(path) as it is")
    found = json.loads((path / _MADE_OF).read_text(encoding="utf-8"))
    asked = {"engine": engine or found["engine"], "language": language or found["language"]}
    if asked.items() <= found.items():
        deque(() if intake.done else intake, 0)
        intake.verify()
        asked |= {"documents": len(intake.seen), "content": intake.content}
    if problems := [f"{path} has {name} {found[name]}, asked for is {asked[name]}" for name in asked if found[name] != asked[name]]:
        raise CascadeError("there is another index already", problems, fix=rm_command(path))


def _index(engine: Engine, folder: Path, docs: Intake, threads: int) -> None:
    """Run the engine; PISA in a thread, so that Ctrl-C stops it before it is done."""
    if engine == "terrier":
        stemmer = f"{docs.language.title()}SnowballStemmer" if docs.language in SNOWBALL.split() else None
        other = {} if docs.language == ENGLISH else {"tokeniser": "whitespace", "stemmer": stemmer, "stopwords": None}
        terrier_index(folder).indexer(meta={"docno": LONGEST}, text_attrs=["text"], threads=threads, **other).index(iter(docs))
        return
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(pisa_index(folder).indexer(text_field="text", threads=threads).index, _survivable(docs))
        try:
            work.result()
        except KeyboardInterrupt:
            docs.stopped = True
            raise
