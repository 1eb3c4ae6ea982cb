"""Knowledge looked up in an index of articles: by words (BM25), by meaning (sentence vectors), or by both.

    source  ->  articles in sentences  ->  articles.arrow, BM25 of articles, vectors   (`open_index` makes them once)
    topic and turns  ->  articles  ->  their sentences, best first                      (`Index.search`)

Grounding, evaluation and chat look knowledge up in this one way.
"""

import os

# bm25s tries JAX out when it is imported, and JAX would take most of a GPU's memory, or fail where that is taken
os.environ.setdefault("JAX_PLATFORMS", "cpu")
