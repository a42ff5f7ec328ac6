"""ggml under llama.cpp: its tensors as ctypes see them, from the very library that llama_cpp has loaded.

A second copy of it would have tables and backends of its own; and the layout of a tensor is no part of any promise, so
it is tried on a tensor of known content before anything is read from others.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import InfernoError
from inferno_widget.record import Floats

F32, F16, I32, I64 = 0, 1, 26, 27
"""Numbers of ggml's types."""
_DTYPES: dict[int, type[np.generic]] = {F32: np.float32, F16: np.float16, I32: np.int32, I64: np.int64}
INPUT = 1
"""GGML_TENSOR_FLAG_INPUT"""
MAX_SRC = 10

Evaluated = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool)
"""ggml_backend_sched_eval_callback: (tensor, whether it asks) -> wanted, or go on; a third argument is left alone."""


class Tensor(ctypes.Structure):
    """ggml_tensor; `ne` counts from the innermost axis."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * MAX_SRC),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )

    @classmethod
    def at(cls, address: int) -> Tensor:
        """The tensor there: a view, that lives as long as its graph."""
        return cls.from_address(address)

    @property
    def sources(self) -> list[int]:
        """Addresses of what it is made from."""
        return [address for address in self.src if address]

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy has it, outermost axis first, without leading ones beyond two."""
        shape = tuple(reversed(self.ne[:]))
        while len(shape) > 2 and shape[0] == 1:
            shape = shape[1:]
        return shape


class InitParams(ctypes.Structure):
    """ggml_init_params"""

    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def _libraries() -> list[Any]:
    """Where symbols are: handles that know their dependencies, except on Windows."""
    if os.name != "nt":
        return [C._lib]  # noqa: SLF001  the one that is loaded
    folder = Path(C._lib._name).parent  # noqa: SLF001
    return [ctypes.CDLL(str(folder / name)) for name in ("ggml-base.dll", "ggml.dll")]  # loaded already: no copy


_P, _INT, _SIZE, _BOOL, _STR = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_bool, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ggml_op_name": (_STR, (_INT,)),
    "ggml_is_contiguous": (_BOOL, (_P,)),
    "ggml_nbytes": (_SIZE, (_P,)),
    "ggml_tensor_overhead": (_SIZE, ()),
    "ggml_graph_overhead": (_SIZE, ()),
    "ggml_init": (_P, (InitParams,)),
    "ggml_free": (None, (_P,)),
    "ggml_new_tensor": (_P, (_P, _INT, _INT, ctypes.POINTER(ctypes.c_int64))),
    "ggml_set_name": (_P, (_P, _STR)),
    "ggml_set_input": (None, (_P,)),
    "ggml_set_output": (None, (_P,)),
    "ggml_scale": (_P, (_P, _P, ctypes.c_float)),
    "ggml_get_rows": (_P, (_P, _P, _P)),
    "ggml_new_graph": (_P, (_P,)),
    "ggml_build_forward_expand": (None, (_P, _P)),
    "ggml_gallocr_new": (_P, (_P,)),
    "ggml_gallocr_alloc_graph": (_BOOL, (_P, _P)),
    "ggml_gallocr_free": (None, (_P,)),
    "ggml_backend_tensor_get": (None, (_P, _P, _SIZE, _SIZE)),
    "ggml_backend_tensor_set": (None, (_P, _P, _SIZE, _SIZE)),
    "ggml_backend_buffer_get_type": (_P, (_P,)),
    "ggml_backend_buft_get_device": (_P, (_P,)),
    "ggml_backend_buffer_is_host": (_BOOL, (_P,)),
    "ggml_backend_dev_by_type": (_P, (_INT,)),
    "ggml_backend_dev_init": (_P, (_P, _STR)),
    "ggml_backend_dev_backend_reg": (_P, (_P,)),
    "ggml_backend_reg_get_proc_address": (_P, (_P, _STR)),
    "ggml_backend_get_default_buffer_type": (_P, (_P,)),
    "ggml_backend_graph_compute": (_INT, (_P, _P)),
    "ggml_backend_free": (None, (_P,)),
}


@cache
def function(name: str) -> Any:
    """A function of ggml, with its signature."""
    result, arguments = _SIGNATURES[name]
    for library in _libraries():
        found = getattr(library, name, None)
        if found is not None:
            found.restype, found.argtypes = result, arguments
            return found
    raise InfernoError(f"this build of llama.cpp has no {name}: what goes on inside the model cannot be looked at")


@cache
def check_layout() -> None:
    """Raise InfernoError unless `Tensor` fits the tensors of the loaded library."""
    size = 4 * function("ggml_tensor_overhead")()
    context = function("ggml_init")(InitParams(size, None, True))
    try:
        first = new_tensor(context, (3, 5))
        function("ggml_set_name")(first, b"first")
        a, b = Tensor.at(first), Tensor.at(function("ggml_scale")(context, first, 2.5))
        fits = (
            a.name == b"first"
            and a.ne[:] == [5, 3, 1, 1]
            and a.nb[:] == [4, 20, 60, 60]
            and b.sources == [first]
            and op(b) == "SCALE"
            and np.int32(b.op_params[0]).tobytes() == np.float32(2.5).tobytes()
        )
    finally:
        function("ggml_free")(context)
    if not fits:
        raise InfernoError(
            "the tensors of this build of llama.cpp are laid out in a way that is not known here, so that what goes on "
            "inside the model cannot be looked at; everything else works"
        )


def new_tensor(context: int, shape: Sequence[int], kind: int = F32) -> int:
    """A tensor without data; `shape` as numpy has it."""
    ne = (ctypes.c_int64 * len(shape))(*reversed(shape))
    return int(function("ggml_new_tensor")(context, kind, len(shape), ne))


@cache
def _op(number: int) -> str:
    return str(function("ggml_op_name")(number).decode())


def op(tensor: Tensor) -> str:
    """What it is made by, such as "MUL_MAT"; "NONE" for weights and inputs."""
    return _op(tensor.op)


def is_weight(address: int) -> bool:
    """Whether a tensor is of the model, and neither an input nor made from others."""
    tensor = Tensor.at(address)
    return op(tensor) == "NONE" and not tensor.flags & INPUT


def name(address: int) -> str:
    """Of a tensor."""
    return ctypes.string_at(address + Tensor.name.offset).decode(errors="replace")


def read(address: int) -> NDArray[Any]:
    """A tensor's numbers, wherever they are kept: float32, float16 or int64, in `Tensor.shape`."""
    tensor = Tensor.at(address)
    if tensor.type not in _DTYPES or not function("ggml_is_contiguous")(address):
        raise InfernoError(f"the tensor {tensor.name.decode()} is not stored as plain numbers in a row")
    values: NDArray[Any] = np.empty(tensor.shape, _DTYPES[tensor.type])
    function("ggml_backend_tensor_get")(address, values.ctypes.data, 0, values.nbytes)
    return values


def write(address: int, values: Floats) -> None:
    """Put numbers, float32 in `Tensor.shape`, into a tensor."""
    tensor = Tensor.at(address)
    if tensor.type != F32 or values.shape != tensor.shape or not function("ggml_is_contiguous")(address):
        raise InfernoError(f"{values.shape} numbers do not fit into the tensor {tensor.name.decode()} {tensor.shape}")
    values = np.ascontiguousarray(values, np.float32)
    function("ggml_backend_tensor_set")(address, values.ctypes.data, 0, values.nbytes)
