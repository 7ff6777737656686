"""A device that is not the processor, pretended on it: its tensors say ``is_cpu`` is false and mix with no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

DEVICE = "elsewhere:0"


class Elsewhere(Tensor):
    """A tensor of that device, which computes with one of the processor."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Elsewhere({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs an operator on what is held; refuses tensors of the processor, but for numbers, as CUDA does."""
    moves = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)  # from one device to another

    def down(t: Any) -> Any:
        if isinstance(t, Elsewhere):
            return t.held
        if isinstance(t, Tensor) and t.ndim and not moves:
            raise RuntimeError(f"expected tensors of one device, got one of shape {tuple(t.shape)} on the processor")
        return t

    to = kwargs.get("device")
    stays = to is None or torch.device(to).type == "elsewhere"
    found = func(*tree_map(down, args), **tree_map(down, {**kwargs, **({"device": "cpu"} if to is not None else {})}))
    if not stays or (func is torch.ops.aten.copy_.default and not isinstance(args[0], Elsewhere)):
        return found
    wrapped = tree_map(lambda t: Elsewhere(t) if isinstance(t, Tensor) else t, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


class _Made(TorchDispatchMode):
    """Catches what is made on the device out of nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to = kwargs.get("device")
        if to is not None and torch.device(to).type == "elsewhere":
            return computed(func, args, kwargs)
        return func(*args, **kwargs)


def _register() -> None:
    module: Any = backend_registration._DummyBackendModule()
    type(module).get_amp_supported_dtype = lambda self: [torch.bfloat16]
    backend_registration._setup_privateuseone_for_python_backend("elsewhere", backend_module=module)


# Here, while tests are collected: the first backward pass of a process counts the devices, once for all. And once only:
# pytest imports this file a second time to look for examples.
if torch._C._get_privateuse1_backend_name() != "elsewhere":
    _register()


@contextmanager
def elsewhere() -> Iterator[tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """The functions that take tensors and modules there, and tensors back."""
    with _Made():
        yield _there, _back


def _there(one: Any) -> Any:
    if not isinstance(one, nn.Module):
        return tree_map(lambda t: Elsewhere(t.detach().clone()) if isinstance(t, Tensor) else t, one)
    for part in one.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(_there(parameter), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = _there(buffer)
    return one


def _back(one: Any) -> Any:
    return tree_map(lambda t: t.held if isinstance(t, Elsewhere) else t, one)
