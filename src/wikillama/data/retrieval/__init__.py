"""Knowledge looked up in an index of articles: by words (BM25), by meaning (sentence vectors), or by both.

    source  ->  articles in sentences  ->  articles.arrow, BM25 of articles, vectors   (`open_index` makes them once)
    topic and turns  ->  articles  ->  their sentences, best first                      (`Index.search`)

Grounding, evaluation and chat look knowledge up in this one way.
"""
