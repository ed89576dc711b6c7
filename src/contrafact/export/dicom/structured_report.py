"""Measurements of explanations as a DICOM Structured Report (TID 1500)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contrafact.export.dicom.images import MAKER, SCHEME, Series, equipment, new_uid, own_scheme, text
from contrafact.export.dicom.maps import highdicom_or_refuse, names_as_they_are, quantity_of
from contrafact.export.dicom.source import DicomSource
from contrafact.render.text import check_title

CHECK = re.compile(r"Check: (.+?)(, measured|)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Measurements of one result, or of the image.

    figures   name to (number, UCUM unit: "1", "%", "s")
    checks    name to passed, failed or not checked
    comments  sentences
    """

    title: str
    method: str = ""
    figures: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)
    comments: Sequence[str] = ()


def numbers_report(
    source: DicomSource, groups: Sequence[Figures], evidence: Sequence[Any], series: Series, *, version: str
) -> Any:
    """Return a report with one group of measurements for the image and one per result, referring to the source.

    evidence  the maps and segmentations that were measured
    """
    sr = highdicom_or_refuse().sr
    from pydicom.sr.codedict import codes

    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=new_uid(), name=MAKER, manufacturer_name=MAKER, model_name=text(f"{MAKER} {version}")
        ),
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[_group(sr, codes, source, one, version) for one in groups],
        title=codes.DCM.ImagingMeasurementReport,
    )
    with names_as_they_are():
        data = sr.Comprehensive3DSR(
            evidence=[*source.headers, *evidence],
            content=report[0],
            series_instance_uid=series.uid,
            series_number=series.number,
            sop_instance_uid=new_uid(),
            instance_number=1,
            manufacturer=MAKER,
            is_complete=True,
            series_description=text(series.description),
        )
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ContentQualification = "RESEARCH"
    data.CodingSchemeIdentificationSequence = [own_scheme()]
    data.ContributingEquipmentSequence = [
        equipment(("109102", "Processing Equipment"), MAKER, version, "Measured explanations; research use")
    ]
    if source.synthetic:
        data.SyntheticData = "YES"
    return data


def own_code(name: str) -> Any:
    """Return a private code. Equal names have equal codes; the meaning uses the shown name of a check."""
    from highdicom.sr import CodedConcept

    return CodedConcept(
        "C" + hashlib.sha256(name.encode()).hexdigest()[:10].upper(), SCHEME, text(_meaning(name)) or "unnamed"
    )


def _meaning(name: str) -> str:
    match = CHECK.fullmatch(name)
    return f"Check: {check_title(match[1])}{match[2]}" if match else name


def _group(sr: Any, codes: Any, source: DicomSource, one: Figures, version: str) -> Any:
    units = {"1": codes.UCUM.NoUnits, "%": codes.UCUM.Percent, "s": codes.UCUM.Second}
    algorithm = sr.AlgorithmIdentification(name=text(one.method), version=text(version)) if one.method else None
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=new_uid(), identifier=text(one.title)),
        finding_type=getattr(codes.DCM, quantity_of(one.method)) if one.method else None,
        algorithm_id=algorithm,
        measurements=[
            sr.Measurement(name=own_code(name), value=float(value), unit=units[unit])
            for name, (value, unit) in one.figures.items()
            if math.isfinite(value)
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=own_code(name), value=own_code(answer))
            for name, answer in one.checks.items()
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(h.SOPClassUID, h.SOPInstanceUID) for h in source.headers
        ],
    )
    for words in one.comments:
        group[0].ContentSequence.append(
            sr.TextContentItem(codes.DCM.Comment, text(words, 1024), sr.RelationshipTypeValues.CONTAINS)
        )
    return group
