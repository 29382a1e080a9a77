"""The three textbook cascades on scifact, each from one line, from BM25 to an LLM.

    python experiments/textbook.py [--data FOLDER] [--queries N] [--cross-encoder MODEL] [--llm MODEL --base-url URL]

Without ``--cross-encoder`` one of MiniLM-L6's shape is made with RANDOM weights: its cost is real, its ranking is noise. Without
``--llm`` a stand-in answers on loopback with grades from a hash, SYNTHETIC as well. BM25, the bi-encoder and the dense retriever
are real. Indexes and vectors are made once (some minutes) and kept in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import warnings
import zlib
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from ir_measures import R, nDCG

import pt_cascade as ptc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

DATA = Path(os.environ.get("PT_CASCADE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "scifact"
SHAPES = (
    "bm25 % 1000 >> bi_encoder % 100 >> cross_encoder({ce}) % 20 >> llm_judge({llm})",
    "hybrid(bm25, dense) % 500 >> cross_encoder({ce}) % 30",
    "dense % 200 >> cross_encoder({ce}) % 10",
)
MEASURES = [nDCG @ 10, R @ 10]


def make_cross_encoder(folder: Path) -> str:
    """Save a cross-encoder of MiniLM-L6's shape and RANDOM weights, with the tokenizer of all-MiniLM-L6-v2."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, set_seed  # noqa: PLC0415 - heavy
    from transformers.utils import logging  # noqa: PLC0415 - heavy

    set_seed(0)
    logging.disable_progress_bar()
    size = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    BertForSequenceClassification(BertConfig(num_labels=1, **size)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(ptc.default_model()).save_pretrained(folder)
    return str(folder)


class StandIn(BaseHTTPRequestHandler):
    """Answers every chat with a grade from 0 to 3 that is a hash of what was asked."""

    def do_POST(self) -> None:
        """Answer."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": str(zlib.crc32(asked) % 4)}
        usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": 1, "total_tokens": len(asked) // 4 + 1}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "stand-in", "choices": [choice], "usage": usage}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def stand_in() -> Iterator[str]:
    """Serve the stand-in on loopback; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def measure(cascade: ptc.Cascade, topics: pd.DataFrame, qrels: pd.DataFrame) -> str:
    """Run a cascade query by query; say how good it is, and what each stage took."""
    import ir_measures  # noqa: PLC0415 - beside its measures

    done = ptc.run(cascade, topics, query_batch_size=1)
    names = {"qid": "query_id", "docno": "doc_id", "label": "relevance"}
    asked = qrels[qrels["qid"].isin(topics["qid"])]
    values = ir_measures.calc_aggregate(MEASURES, asked.rename(columns=names), done.results.rename(columns=names))
    good = " ".join(f"{measure} {values[measure]:.3f}" for measure in MEASURES)
    took = done.trace.groupby("stage", sort=False)["ms"].mean()
    return f"{cascade!r}\n  {good}; ms a query: {', '.join(f'{stage} {ms:.1f}' for stage, ms in took.items())}"


def main() -> None:
    """Build, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--cross-encoder", help="a name on the hub or a local folder")
    parser.add_argument("--llm", help="the model's name at the server")
    parser.add_argument("--base-url", help="the server, e.g. http://localhost:8000/v1")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    collection = ptc.open_collection(arguments.data)
    topics = collection.judged(arguments.queries)
    with (
        tempfile.TemporaryDirectory() as folder,
        nullcontext(arguments.base_url) if arguments.llm else stand_in() as address,
    ):
        model = arguments.cross_encoder or make_cross_encoder(Path(folder))
        llm = f"{arguments.llm or 'stand-in'!r}" + (f", base_url={address!r}" if address else "")
        made_up = [*([] if arguments.cross_encoder else ["RANDOM cross-encoder"]), *([] if arguments.llm else ["SYNTHETIC LLM"])]
        print(f"{collection.name}: {len(collection):,} documents, {len(topics)} judged queries. {', '.join(made_up)}")
        for shape in SHAPES:
            line = shape.format(ce=repr(model), llm=llm)
            cascade = ptc.parse_cascade(line, collection, verbose=True)
            print(f"\n{shape.format(ce='...', llm='...')}\n{measure(cascade, topics, collection.qrels)}", flush=True)


if __name__ == "__main__":
    main()
