"""Results, methods, studies and cohorts as other libraries take them; each in a file of its own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contrafact.interop.captum_method import CaptumMethod as CaptumMethod
    from contrafact.interop.croissant import cohort_card as cohort_card
    from contrafact.interop.metatensor import from_metatensor as from_metatensor
    from contrafact.interop.metatensor import to_metatensor as to_metatensor
    from contrafact.interop.mlflow_tracker import MLflowTracker as MLflowTracker
    from contrafact.interop.quantus_function import explain_func as explain_func
    from contrafact.interop.study_log import logged_study as logged_study
    from contrafact.interop.torchio_image import from_torchio as from_torchio
    from contrafact.interop.torchio_image import to_torchio as to_torchio
    from contrafact.interop.wandb_tracker import WandbTracker as WandbTracker

_PLACES = {
    "CaptumMethod": "captum_method",
    "MLflowTracker": "mlflow_tracker",
    "WandbTracker": "wandb_tracker",
    "cohort_card": "croissant",
    "explain_func": "quantus_function",
    "from_metatensor": "metatensor",
    "from_torchio": "torchio_image",
    "logged_study": "study_log",
    "to_metatensor": "metatensor",
    "to_torchio": "torchio_image",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'contrafact.interop' has no attribute '{name}'")
    return getattr(import_module(f"contrafact.interop.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
