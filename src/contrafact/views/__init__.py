"""What people see. Never imports torch."""

from contrafact.views.dicom_exports import export_dicom
from contrafact.views.exports import FORMS, export_run
from contrafact.views.figures import KINDS
from contrafact.views.report import write_report

__all__ = ["FORMS", "KINDS", "export_dicom", "export_run", "write_report"]
