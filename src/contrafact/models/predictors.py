"""Predictors: raw outputs of the network under study for a batch of images in their own units.

`TorchPredictor` is differentiable and its layers can be watched; `BlackBox` only has outputs.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.core import BoxAnswers, InputError, UnsupportedError, fingerprint, nearest
from contrafact.core.library_output import deep_copy
from contrafact.models.calls import is_function, tapped
from contrafact.models.declaration_checks import InputRange, UnitRange, check_last_step, within_unit
from contrafact.models.default_layer import Chooser
from contrafact.models.identity import ContentDigest, version_of
from contrafact.models.layers import FeatureLayer, check_tokens, no_map, survey
from contrafact.models.local_recompute import Incremental, Operations, traced
from contrafact.models.network_checks import check_followed, check_module, naming_channels
from contrafact.models.predictor_info import Described, pick
from contrafact.models.preprocessing import Preprocessing


class TorchPredictor(Described):
    """A torch module, TorchScript or exported program.

    module    never changed: a copy is used on another device, and calls run in evaluation mode, update no
              statistics and leave no gradients
    call      images (N, C, *S) in their own units (array or tensor) -> raw outputs (N, K, ...),
              differentiable
    warns     InputRangeWarning, once, for values far from those networks are trained on if no window, mean
              and std are declared
    frozen    evaluation mode, no parameter gradients; restored bit for bit on exit
    watch     activations of a layer
    replacing outputs for copies of one image, each with a box replaced, recomputing only what the box changes
    head      which of several outputs to use (index, or key of a dict); None: the first
    tokens    for a transformer: number of tokens without a position (class and register tokens, which come
              first), then the grid of the others, such as (1, 14, 14); empty: detected
    """

    differentiable = True

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: Sequence[str] = (),
        output: str = "logits",
        preprocessing: Preprocessing | None = None,
        device: torch.device | str | None = None,
        head: int | str | None = None,
        tokens: Sequence[int] = (),
    ) -> None:
        super().__init__(classes=classes, output=output, preprocessing=preprocessing, head=head)
        self.tokens = check_tokens(tokens)
        check_module(module)
        first = next(module.parameters(), None)
        self.device = torch.device(device or (first.device if first is not None else "cpu"))
        self.dtype = first.dtype if first is not None else torch.float32
        self.module = on_device(module, self.device)
        self._depth, self._looked, self._followed, self._range = 0, False, False, InputRange()
        self._channels_last = self.device.type == "cpu"
        self._traced: tuple[list[nn.Module], Operations | None] = ([], None)
        self._layers: dict[Any, FeatureLayer] = {}
        self._pinned, self._identity = "", ContentDigest(self.module)

    @property
    def digest(self) -> str:
        """16 hex digits of weights, architecture, source and the declared preprocessing, head, output and
        classes; recomputed after any change."""
        if self._pinned:
            return self._pinned
        if self._identity.model is not self.module:
            self._identity = ContentDigest(self.module)
        content = self._identity.digest
        return self._used(fingerprint(content, list(self.tokens)) if self.tokens else content)

    @digest.setter
    def digest(self, digest: str) -> None:
        """Fix the digest regardless of the weights, for a modified copy that represents its model."""
        self._pinned = digest

    def __call__(self, images: Any) -> Tensor:
        if not self._depth:
            with self.frozen():
                return self(images)
        x = self._prepared(images)
        with naming_channels(self.module, x):
            outputs = self._checked(self._run(x), len(x))
        if outputs.grad_fn is not None and not self._followed:
            check_followed(outputs)
            self._followed = True
        if self._raw and (outputs.grad_fn is not None or not self._looked):
            self._check_raw(x, outputs)
        return outputs.float()

    def look(self, images: Any) -> None:
        """Raise InputError for a model that ends in a sigmoid or softmax although raw outputs are declared. Its
        calls do so too, except while hooks are registered.

        cost  up to two passes; none after a call that has checked the model
        """
        if not self._looked and self._raw and not _listens(self.module):
            with torch.no_grad():
                self(images)

    def _check_raw(self, x: Tensor, outputs: Tensor) -> None:
        """Raise InputError for outputs from 0 to 1 whose last step is a sigmoid or softmax. Outputs without a
        graph are computed again, once per predictor."""
        if within_unit(outputs):
            if outputs.grad_fn is None and _listens(self.module):
                return
            if outputs.grad_fn is None:
                self._looked = True  # one pass, also where the check fails
                with torch.inference_mode(False), torch.enable_grad():
                    again = self._run(x.detach().clone().requires_grad_())
                outputs = torch.as_tensor(pick(again, self.head))
            check_last_step(outputs, self.output)
        self._looked = True

    def _prepared(self, images: Any) -> Tensor:
        given = torch.as_tensor(images).to(self.device, torch.float32)
        x = self.preprocessing(given)
        if self.dtype.is_floating_point and x.numel():
            self._range.look(given.detach(), x.detach(), self.preprocessing)
        return x.to(self.dtype)

    def _run(self, x: Tensor) -> Any:
        """Run the module on a copy, because a model may work in place. On the CPU a 2D network is up to 1.5
        times as fast with channels last; a 3D network is not."""
        # Not with gradients: rounding would depend on the batch, and add up over the steps of a latent path.
        if not self._channels_last or x.ndim != 4 or x.requires_grad:
            return self.module(x.clone())
        try:
            return self.module(x.clone(memory_format=torch.channels_last))
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            self._channels_last = False  # this network depends on the memory order
            return self.module(x.clone())

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Set evaluation mode and disable parameter gradients inside; restore modes, gradients and buffers on
        exit."""
        modes = [(m, m.training) for m in self.module.modules() if hasattr(m, "training")]
        grads = [(p, p.requires_grad, p.grad) for p in self.module.parameters()]
        buffers = [(b, version_of(b), b.detach().clone()) for b in self.module.buffers()]
        attributes = () if self._depth else self._identity.attributes()
        self._depth += 1
        try:
            with contextlib.suppress(NotImplementedError):  # exported programs have no modes
                if modes:  # nor have frozen scripts
                    self.module.eval()
            for parameter, *_ in grads:
                parameter.requires_grad_(False)
            yield
        finally:
            self._depth -= 1
            for module, mode in modes:
                module.training = mode
            for parameter, wanted, grad in grads:
                parameter.requires_grad_(wanted)
                parameter.grad = grad
            with torch.no_grad():
                for buffer, version, before in buffers:
                    if version < 0 or version_of(buffer) != version:  # an unchanged one keeps the digest
                        buffer.copy_(before)
            if not self._depth:
                self._identity.leave(attributes)

    @torch.no_grad()
    def replacing(
        self, image: Any, other: Any, box: tuple[int, ...], corner: NDArray[np.int64]
    ) -> BoxAnswers | None:
        """Return outputs for copies of `image` (C, *S) with a box replaced by that of `other`, recomputing only
        what the box changes (`local_recompute`), verified against a full pass at `corner`. None if the network
        cannot be traced, is in training mode or has hooks, or if its preprocessing resizes images."""
        image, other = (torch.as_tensor(v).to(self.device, torch.float32)[None] for v in (image, other))
        alone = type(self.preprocessing) is Preprocessing and self.preprocessing.pointwise(image.shape[2:])
        operations = self._operations() if alone else None
        if operations is None:
            return None
        region = (slice(None), slice(None), *map(slice, corner, corner + box))
        copy = image.clone()
        copy[region] = other[region]
        expected = self(copy)
        try:
            network = Incremental(self.module, operations, self._prepared(image), self._prepared(other), box)

            def answers(corners: NDArray[np.int64]) -> Tensor:
                return self._checked(network(corners), len(corners)).float()

            outputs = answers(corner[None])
        except Exception:  # an unsupported operation, or not enough memory: full passes
            return BoxAnswers(self, 1.0, 1.0)
        # Above rounding errors, below the effect of a box: 3e-5 in float32, 1e-2 in float16.
        tolerance = torch.finfo(self.dtype).eps ** 0.65 * float(expected.abs().max())
        equal = outputs.shape == expected.shape and float((outputs - expected).abs().max()) <= tolerance
        return BoxAnswers(answers, *network.costs(1)) if equal else BoxAnswers(self, 1.0, 1.0)

    def _operations(self) -> Operations | None:
        """Return the network's operations; None if they cannot be traced, or hooks are registered."""
        modules = list(self.module.modules())
        if not self.watchable or _listens(self.module) or any(
            m.training or "forward" in m.__dict__ for m in modules
        ):  # fmt: skip
            return None
        if len(modules) != len(self._traced[0]) or any(map(operator.is_not, modules, self._traced[0])):
            self._traced = modules, traced(self.module)
        return self._traced[1]

    @property
    def watchable(self) -> bool:
        """Whether layers can be watched; those of a TorchScript model are hidden."""
        return not isinstance(self.module, torch.jit.ScriptModule)

    def feature_layer(self, images: Any, layer: str | None = None, *, module: bool = False) -> FeatureLayer:
        """Return a layer for images (N, C, *S) of this size, with its cells and their positions.

        layer   name; None: the last feature map that all later layers depend on, after normalisation,
                activation and residual sum
        module  choose among modules only, not among functions of the network
        cost    a forward pass, more for the default layer; once per layer and image size
        raises  InputError for an unknown name, UnsupportedError for a layer without a feature map, a network
                without any, or TorchScript
        """
        size = tuple(images.shape[1:])
        key = (layer, module, size)
        if key in self._layers:
            return self._layers[key]
        if layer is not None:
            self._name_of(layer)
        elif not self.watchable:
            raise UnsupportedError("a TorchScript model cannot be watched; give the torch module")
        first = self._prepared(torch.as_tensor(images[:1]).detach())
        with self.frozen():
            surveyed = survey(self.module, self._run, first, self.tokens)
            if layer is None:
                seen = Chooser(self.module, self._outputs, first, surveyed).choose(modules_only=module)
            elif layer in surveyed.maps:
                seen = surveyed.maps[layer]
            else:
                raise UnsupportedError(no_map(layer, surveyed))
        self._layers[key] = FeatureLayer.of(seen, size[1:], tuple(first.shape[2:]))
        return self._layers[key]

    def _outputs(self, images: Tensor) -> Tensor:
        return torch.as_tensor(pick(self._run(images), self.head))

    @contextlib.contextmanager
    def watch(self, layer: str | None = None) -> Iterator[list[Tensor]]:
        """Collect the activations of `layer` of every call inside, in the autograd graph. Later layers get a
        copy, which they may overwrite."""
        seen: list[Tensor] = []

        def note(value: Tensor) -> Tensor:
            seen.append(value)
            return value.clone()

        with self.change(layer, note):
            yield seen

    @contextlib.contextmanager
    def change(self, layer: str | None, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Replace the activations of `layer` by `function` of them in every call inside; if a pass calls the
        layer several times, in the last call."""
        name = self._name_of(layer)
        calls = {entry.name: entry.calls for entry in self._layers.values()}
        with tapped(self.module, {name: function}, calls):
            yield

    def _name_of(self, layer: str | None) -> str:
        """Return the name of a layer; None: the most recent default layer, or else the last convolution."""
        chosen = [entry.name for (requested, *_), entry in self._layers.items() if requested is None]
        name = layer or (chosen[-1] if chosen else last_spatial_layer(self.module))
        if not self.watchable:
            raise UnsupportedError("a TorchScript model cannot be watched; give the torch module")
        if not is_function(name):
            self.layer(name)
        return name

    def layer(self, layer: str | None) -> nn.Module:
        """Return the module of that name; None: as in `watch`.

        raises  InputError for an unknown name, UnsupportedError for a function, which is not a module
        """
        name = layer if layer is not None else self._name_of(None)
        if is_function(name):
            raise UnsupportedError(f"expected a module; got '{name}', which is a function of the network")
        modules = dict(self.module.named_modules())
        if name not in modules or name == "":
            known = [n for n in modules if n]
            raise InputError(f"expected a layer of the model; got '{name}'{nearest(name, known)}")
        if not self.watchable:
            raise UnsupportedError("a TorchScript model cannot be watched; give the torch module")
        return modules[name]


class BlackBox(Described):
    """A function of arrays without gradients: an ONNX session, a scikit-learn estimator, a Python function.

    call    images (N, C, *S) -> raw outputs (N, K) as a float32 tensor on the CPU
    digest  identifies the model; empty: computed from the function's source, the networks, arrays and objects
            it uses, and the declarations
    content digest of the function alone, if it is known; the declarations are added
    """

    differentiable = False
    watchable = False
    module = None
    device = torch.device("cpu")

    def __init__(
        self,
        function: Callable[[np.ndarray[Any, Any]], Any],
        *,
        classes: Sequence[str] = (),
        output: str = "logits",
        preprocessing: Preprocessing | None = None,
        digest: str = "",
        content: str = "",
        head: int | str | None = None,
    ) -> None:
        super().__init__(classes=classes, output=output, preprocessing=preprocessing, head=head)
        self.function, self._unit_range = function, UnitRange()
        self._pinned, self._content = digest, content
        self._identity = None if digest or content else ContentDigest(function)

    @property
    def digest(self) -> str:
        """16 hex digits; recomputed after a change of the declarations, or of an array or weight that the
        function uses."""
        if self._pinned:
            return self._pinned
        return self._used(self._content if self._identity is None else self._identity.digest)

    @digest.setter
    def digest(self, digest: str) -> None:
        self._pinned = digest

    def __call__(self, images: Any) -> Tensor:
        x = torch.as_tensor(images).detach().to("cpu", torch.float32, copy=True)
        before = None if self._identity is None else self._identity.attributes()
        outputs = self.function(self.preprocessing(x).contiguous().numpy())
        if self._identity is not None and before is not None:
            self._identity.leave(before)
        return self._checked(outputs, len(x)).float()

    def frozen(self) -> contextlib.AbstractContextManager[None]:
        """Freeze nothing: what a black box consists of is not known."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def watch(self, layer: str | None = None) -> Iterator[list[Tensor]]:
        """Raise UnsupportedError: a black box shows no layers."""
        self.feature_layer(None, layer)
        yield []

    def feature_layer(self, images: Any, layer: str | None = None, *, module: bool = False) -> NoReturn:
        """Raise UnsupportedError, as `watch` does."""
        raise UnsupportedError("a black box hides its layers; use occlusion or rise")

    def replacing(self, image: Any, other: Any, box: tuple[int, ...], corner: Any) -> None:
        """Return None: a black box computes whole images."""


AnyPredictor = TorchPredictor | BlackBox


def _listens(module: nn.Module) -> bool:
    """Whether a hook is registered that a pass would call."""
    everywhere = nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    return bool(everywhere) or any(getattr(m, name, None) for m in module.modules() for name in hooks)


def on_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module if all of it is on that device, else a copy there."""
    tensors = [*module.parameters(), *module.buffers()]
    in_place = all(t.device.type == device.type and device.index in (None, t.device.index) for t in tensors)
    return module if in_place else deep_copy(module).to(device)


def last_spatial_layer(module: nn.Module) -> str:
    """Return the name of the last convolution, for a network without a chosen default layer."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    names = [n for n, m in module.named_modules() if isinstance(m, kinds) and max(m.kernel_size) > 1]
    if not names:
        raise UnsupportedError(
            "expected a network with convolutions to choose a layer from; got none: name a layer"
        )
    return names[-1]
