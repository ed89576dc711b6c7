"""Results, methods, studies and cohorts as other libraries take them; each in a file of its own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contrafact.interop.captum_method import CaptumMethod as CaptumMethod
    from contrafact.interop.metatensor import from_metatensor as from_metatensor
    from contrafact.interop.metatensor import to_metatensor as to_metatensor
    from contrafact.interop.quantus_function import explain_func as explain_func
    from contrafact.interop.torchio_image import from_torchio as from_torchio
    from contrafact.interop.torchio_image import to_torchio as to_torchio

_PLACES = {
    "CaptumMethod": "captum_method",
    "explain_func": "quantus_function",
    "from_metatensor": "metatensor",
    "from_torchio": "torchio_image",
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
