"""Results as DICOM: maps, images, counterfactuals and figures, in the study of their source."""
