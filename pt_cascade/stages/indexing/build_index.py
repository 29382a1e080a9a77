"""Build an index for ``bm25``: complete or not at all, and without the engine's printing."""

from __future__ import annotations

import json
import re
from collections import Counter
from operator import length_hint
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.checksums import build_once, check_sealed
from pt_cascade.collections.intake import LONGEST, Intake
from pt_cascade.errors import CascadeError, PipelineError, first_line, warn
from pt_cascade.files import rm_command, to_path
from pt_cascade.numbers import count_of, is_word
from pt_cascade.progress import show_progress
from pt_cascade.stages.indexing.engines import (
    MOST_THREADS,
    Engine,
    check_engine,
    default_engine,
    engine_failure,
    list_docnos,
    run_pisa,
    terrier_index,
)
from pt_cascade.stages.indexing.words import ANY, ENGLISH, FILE, SNOWBALL, plain_words, script_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Never

    from tqdm import tqdm

_DROPPED = 0.01
_FIX = 'build_index(docs, path, engine="terrier", language="any"); for a folder: echo any > language.txt there'
_MADE_OF = "index.json"
_ASCII = re.compile(r"[\x00-\x7f]+")
_NO_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())


def build_index(
    docs: Iterable[Mapping[str, str]],
    path: str | os.PathLike[str],
    *,
    engine: Engine | None = None,
    language: str | None = None,
    threads: int = 1,
    verbose: bool = False,
) -> Path:
    """Index a collection for ``bm25``, in English with the engine's own stemmer and stop words, or in another language.

    The index keeps no text: for stages that read it, ``collection.text_loader()`` adds it.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once, without white space and control characters, at most 256
            characters and 512 bytes of UTF-8.
        path: The folder to make. If it is there, ``docs`` are read and compared with it, and nothing is built. It appears only
            when it is complete; a second process that builds it waits.
        engine: ``pisa`` or ``terrier``; None: that of the folder, else PISA where it is installed and reads the language, else
            Terrier.
        language: ``english``, which keeps ASCII letters and digits only; ``any``, all scripts without stemming; or one that Terrier
            stems: danish, dutch, finnish, french, german, hungarian, italian, norwegian, portuguese, romanian, russian, spanish,
            swedish, turkish. PISA reads English. None: that of the folder, else English.
        threads: Threads of the engine, 1 to 1024.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        FrameError: A document has no text, or its docno is not as above.
        MissingError: The engine is not installed, or the folder is damaged.
        PipelineError: The engine or the language is unknown, or the engine does not read the language.
        CascadeError: There is no document, or none with a word; or the folder was made by the other engine, for another language,
            from other documents, or not by this function.

    Warns:
        CascadeWarning: More than 1 % of the letters are not ASCII, and an index for English drops them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "index"
        >>> build_index([{"docno": "d1", "text": "a lion"}, {"docno": "d2", "text": "a bear"}], path) == path
        True
    """
    read_as = ENGLISH if language is None else language
    by = (default_engine() if is_word(read_as, (ENGLISH,)) else "terrier") if engine is None else engine
    check_engine(by)
    intake = Intake(docs)
    if not is_word(read_as, known := [ENGLISH] if by == "pisa" else [ENGLISH, ANY, *SNOWBALL.split()]):
        raise PipelineError(f"language is {language!r}", [f"expected one of {', '.join(known)}, for {by}"], fix=_FIX)
    if not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
        raise PipelineError(f"threads is {threads!r}", [f"expected 1 to {MOST_THREADS:,}"])

    def build(folder: Path) -> None:
        with show_progress(f"index ({by})", "doc", length_hint(docs) or None, shown=verbose) as bar:
            reader = _Reader(intake, read_as, bar)
            _index(by, folder, reader, threads)
        reader.verify()
        (folder / FILE).write_text(read_as)
        _warn_of_dropped(by, reader)
        made_of = {"engine": by, "language": read_as, "documents": len(intake.seen), "content": intake.content}
        (folder / _MADE_OF).write_text(json.dumps(made_of), encoding="utf-8")

    folder = build_once(to_path(path), build)
    _compare(folder, intake, engine, language)
    return folder


class _Reader:
    """Documents as the words that an index for a language keeps, and how many letters they have."""

    def __init__(self, intake: Intake, language: str, bar: tqdm[Never]) -> None:
        self.intake, self.language, self.bar = intake, language, bar
        self.letters: Counter[str] = Counter()
        self.has_words = False

    def __iter__(self) -> Iterator[dict[str, str]]:
        for doc in self.intake:
            text = doc["text"]
            self.letters["a"] += len(text.encode("ascii", "ignore").translate(None, _NO_LETTERS))  # a microsecond a kilobyte
            self.letters.update(filter(str.isalpha, "" if text.isascii() else _ASCII.sub("", text)))
            plain = text if self.language == ENGLISH else plain_words(text, self.language)
            self.has_words = self.has_words or bool(plain_words(plain, self.language))
            yield {"docno": doc["docno"], "text": plain}
            self.bar.update()

    def verify(self) -> None:
        """Raise the error that stopped the reading; refuse documents without a word."""
        self.intake.verify()
        if not self.has_words:
            problem = f"no document has a word that an index for {self.language} can contain"
            raise CascadeError("the documents cannot be indexed", [problem], fix=_FIX)

    def verified(self) -> Iterator[dict[str, str]]:
        """Yield the documents; what is wrong with them is an error at their end."""
        yield from self
        self.verify()


def _warn_of_dropped(engine: Engine, docs: _Reader) -> None:
    """Name the scripts whose letters an index for English drops."""
    shares: Counter[str] = Counter()
    for letter, number in docs.letters.items():
        shares[script_of(letter)] += number
    dropped = sum(shares.values()) - shares.pop("ASCII", 0)
    if docs.language == ENGLISH and dropped > _DROPPED * docs.letters.total():
        found = ", ".join(f"{script} {number / docs.letters.total():.1%}" for script, number in shares.most_common())
        those = f"the letters of the {count_of(len(docs.intake.seen), 'document')} are not ASCII"
        effect = "and an index for English drops them: such words are not found, or only parts of them"
        warn(f"engine {engine}: {found} of {those}, {effect}. Fix: {_FIX}")


def _compare(path: Path, intake: Intake, engine: Engine | None, language: str | None) -> None:
    """Refuse a folder that was made with other options or, once all documents are read, from other documents."""
    check_sealed(path, fix=rm_command(path))
    if not (path / _MADE_OF).exists():
        there = ", ".join(sorted(file.name for file in path.iterdir())[:3])
        problem = f"{path} holds {there}, ..., expected {_MADE_OF}, which build_index writes"
        raise CascadeError("this folder is not made by build_index", [problem], fix="choose another path, or bm25(path) as it is")
    found = json.loads((path / _MADE_OF).read_text(encoding="utf-8"))
    asked = {"engine": engine or found["engine"], "language": language or found["language"]}
    problems = [f"{path} has {name} {found[name]}, expected {asked[name]}" for name in asked if found[name] != asked[name]]
    if problems := problems or intake.find_changes(found["content"], lambda: list_docnos(path)):
        raise CascadeError("the folder holds another index", problems, fix=rm_command(path))


def _index(engine: Engine, folder: Path, docs: _Reader, threads: int) -> None:
    """Run the engine."""
    if engine == "pisa":
        run_pisa(folder, docs.verified(), threads=threads)
        return
    stemmer = f"{docs.language.title()}SnowballStemmer" if docs.language in SNOWBALL.split() else None
    other = {} if docs.language == ENGLISH else {"tokeniser": "whitespace", "stemmer": stemmer, "stopwords": None}
    index, level = terrier_index(folder), pt.java.configure["log_level"]
    pt.java.set_log_level("OFF")
    try:
        index.indexer(meta={"docno": LONGEST}, text_attrs=["text"], threads=threads, **other).index(iter(docs))
        docs.verify()
        built = index.index_obj().getCollectionStatistics()
        whole = built.getNumberOfDocuments() == len(docs.intake.seen) and built.getNumberOfUniqueTerms() > 0
    except CascadeError:
        raise
    except Exception as error:
        raise engine_failure(engine, folder, first_line(error)) from error
    finally:
        pt.java.set_log_level(level)
    if not whole:  # it ignores some errors
        raise engine_failure(engine, folder, "documents or words are missing in it")
