"""The prose of a Markdown file."""

from wikillama.data.retrieval.markdown import plain_text
from wikillama.data.retrieval.sentences import split_sentences

PAGE = """\
Before.

# Tea and *cups* #

Tea is a **hot** drink from [China](https://example.org/china_(land)), see ![a cup](cup.png).
It uses `water` and 2 * 3 * 4 leaves
## Kinds
- Green tea. It is old.
- Black tea
1. First

```python
code = "is no prose."
```

| a | table |
|---|-------|

---
> Quoted. <b>Bold</b> end.
"""


def test_headings_code_tables_and_marks_are_left_out() -> None:
    title, text = plain_text(PAGE)
    assert title == "Tea and *cups*"
    assert split_sentences(text) == [
        "Before.",
        "Tea is a hot drink from China), see a cup.",
        "It uses water and 2 * 3 * 4 leaves",
        "Green tea.",
        "It is old.",
        "Black tea",
        "First",
        "Quoted.",
        "Bold end.",
    ]


def test_without_a_heading_there_is_no_title() -> None:
    assert plain_text("Plain # text.") == (None, "Plain # text.")
