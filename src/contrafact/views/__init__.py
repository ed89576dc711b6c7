"""What people see. Never imports torch."""

from contrafact.views.report import write_report

__all__ = ["write_report"]
