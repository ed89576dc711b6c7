"""DICOM export of heatmaps, images, counterfactuals and measurements, in the study of their source."""
