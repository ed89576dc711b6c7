"""Heatmaps as DICOM files: the values as a Parametric Map, the strongest regions as a Segmentation."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import UnsupportedError
from contrafact.export.dicom.images import MAKER, Series, equipment, new_uid, side_known, text
from contrafact.export.dicom.source import DicomSource, recognizable

Values = NDArray[np.float32]
CLASS_ACTIVATION = ("ablation-cam", "eigencam", "score-cam", "layer-activation")
SALIENCY = ("gradient", "input-x-gradient", "guided-backprop", "deconvolution")


def quantity_of(method: str) -> str:
    """Return DICOM's term for the quantity of a method, by keyword of the DCM dictionary (CID 6335)."""
    if "gradcam" in method or method in ("hirescam", "layercam", "finer-cam"):
        return "GradientWeightedClassActivation"
    if method in CLASS_ACTIVATION:
        return "ClassActivation"
    return "Saliency" if method in SALIENCY else "VisualExplanation"


def parametric_map(
    source: DicomSource, values: Values, series: Series, *, method: str, words: str, scale: float, version: str
) -> Any:
    """Return the unscaled values, float32, on the slices of the source.

    words  description of method and target, for readers
    scale  value of full colour: the window is -scale to scale
    """
    highdicom = highdicom_or_refuse()
    from pydicom.sr.codedict import codes

    low, high = float(values.min()), float(values.max())
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="heatmap",
        lut_explanation=text(words),
        unit=codes.UCUM.NoUnits,
        value_range=(low, max(high, low + 1e-6)),
        slope=1.0,
        intercept=0.0,
        quantity_definition=getattr(codes.DCM, quantity_of(method)),
    )
    window = highdicom.VOILUTTransformation(window_center=0.0, window_width=max(2 * scale, 1e-6))
    with names_as_they_are():
        data = highdicom.pm.ParametricMap(
            source_images=source.headers,
            pixel_array=planes(values)[..., None].astype(np.float32),
            contains_recognizable_visual_features=recognizable(source.headers[0]) == "YES",
            real_world_value_mappings=[[mapping]],
            voi_lut_transformations=[window],
            derived_pixel_contrast="NONE",
            content_label="HEATMAP",
            content_description=text(words),
            **_common(series, version),
        )
    return _finished(data, source)


def strongest(values: Values, share: float = 0.5) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the fewest voxels with `share` of the evidence for the target, and likewise against it."""
    return _strongest(np.maximum(values, 0), share), _strongest(np.maximum(-values, 0), share)


def segmentation(
    source: DicomSource,
    values: Values,
    series: Series,
    *,
    method: str,
    words: str,
    version: str,
    share: float = 0.5,
    turned: bool = False,
) -> Any | None:
    """Return the strongest regions as binary segments on the slices of the source; None for an empty map.

    turned  evidence for the target is blue, not orange, as in its picture
    """
    highdicom = highdicom_or_refuse()
    from pydicom.sr.codedict import codes

    names = ("Evidence for: ", "Evidence against: ")
    found = [(n, m) for n, m in zip(names, strongest(values, share), strict=True) if m.any()]
    if not found:
        return None
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=text(method), family=codes.DCM.ArtificialIntelligence, version=text(version), source=MAKER
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=text(name + words),
            segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
            segmented_property_type=getattr(codes.DCM, quantity_of(method)),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=new_uid(),
            tracking_id=text(name + words),
            display_color=highdicom.color.CIELabColor.from_rgb(*colour),
        )
        for number, ((name, _), colour) in enumerate(zip(found, _colours(found, names, turned), strict=True), 1)
    ]
    with names_as_they_are():
        data = highdicom.seg.Segmentation(
            source_images=source.headers,
            pixel_array=np.stack([planes(mask) for _, mask in found], axis=-1).astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=segments,
            content_label="EVIDENCE",
            content_description=text(f"fewest voxels that hold {share:.0%} of the evidence"),
            **_common(series, version),
        )
    data.ContentQualification = "RESEARCH"
    return _finished(data, source)


def _colours(
    found: Sequence[tuple[str, Any]], names: Sequence[str], turned: bool
) -> list[tuple[int, int, int]]:
    orange, blue = (255, 150, 40), (70, 160, 255)
    colours = dict(zip(names, (blue, orange) if turned else (orange, blue), strict=True))
    return [colours[name] for name, _ in found]


def planes(values: NDArray[Any]) -> NDArray[Any]:
    """Return (D, H, W), also for one slice."""
    return values if values.ndim == 3 else values[None]


@contextlib.contextmanager
def names_as_they_are() -> Iterator[None]:
    """Silence highdicom's warning about patient names of one word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The string .* is unlikely")
        yield


def highdicom_or_refuse() -> Any:
    try:
        import highdicom
        import highdicom.color
        import highdicom.pm
        import highdicom.seg
        import highdicom.sr
    except ImportError as error:
        raise UnsupportedError("writing DICOM needs: pip install 'contrafact[dicom]'") from error
    return highdicom


def _strongest(values: Values, share: float) -> NDArray[np.bool_]:
    if not values.any():
        return np.zeros(values.shape, bool)
    ordered = np.sort(values, axis=None)[::-1].astype(np.float64)
    count = int(np.searchsorted(np.cumsum(ordered), share * ordered.sum() * (1 - 1e-12)))
    return np.asarray((values >= ordered[min(count, len(ordered) - 1)]) & (values > 0))


def _common(series: Series, version: str) -> dict[str, Any]:
    return {
        "series_instance_uid": series.uid,
        "series_number": series.number,
        "sop_instance_uid": new_uid(),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": text(version),
        "device_serial_number": "none",
        "series_description": text(series.description),
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
    }


def _finished(data: Any, source: DicomSource) -> Any:
    """Add what highdicom does not write: the flag of synthetic sources, and the software."""
    if source.synthetic:
        data.SyntheticData = "YES"
    data.SpecificCharacterSet = "ISO_IR 192"
    if data.Modality != "SEG":
        side_known(data)
    if not source.placed:
        data.PatientOrientation = ""
    version, done = str(data.SoftwareVersions), "Computed an explanation of a model; research use"
    data.ContributingEquipmentSequence = [equipment(("109102", "Processing Equipment"), MAKER, version, done)]
    return data
