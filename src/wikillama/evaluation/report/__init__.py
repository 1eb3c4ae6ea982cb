"""The report of an evaluation: a page, the same in Markdown, figures, and all that was computed as JSON."""

from wikillama.evaluation.report.write import write_report

__all__ = ["write_report"]
