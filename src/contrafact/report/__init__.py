"""One HTML file that opens offline, and results in a notebook. Never imports torch."""

from contrafact.report.page import write_report

__all__ = ["write_report"]
