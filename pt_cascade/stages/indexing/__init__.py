"""BM25 indexes by PISA and Terrier: languages, building, opening. The stage itself is stages/bm25.py."""
