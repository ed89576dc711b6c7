"""Export results as files for other programs. Never imports torch."""

from contrafact.export.arrays import nifti_bytes, write_nifti, write_npz
from contrafact.export.dicom.export import export_dicom
from contrafact.export.run_files import FORMS, export_run

__all__ = ["FORMS", "export_dicom", "export_run", "nifti_bytes", "write_nifti", "write_npz"]
