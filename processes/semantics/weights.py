"""Weights as bytes to a network that can be run: ours as safetensors, anybody's as ONNX.

Nothing here can run code of the file's: safetensors hold numbers alone, and an ONNX file may use
plain layers only: no loops, no functions, no operators of other domains, no files beside it.
Pickle is never opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import InvalidInput
from processes.core.process import Asset, Workspace
from processes.semantics.modelcard import ONNX, ModelCard, read_card

if TYPE_CHECKING:
    from processes.semantics.network import UNet

BUNDLED = "towns"
"""The weights that come with the program."""
MAX_BYTES = 256 * 2**20
MAX_WIDTH, MAX_LEVELS = 512, 6
# fmt: off
PLAIN = frozenset({
    "Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat",
    "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "DepthToSpace", "Div", "Elu",
    "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "Gelu", "Gemm",
    "GlobalAveragePool", "Greater", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "IsNaN", "LayerNormalization", "LeakyRelu", "Less",
    "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mish", "Mul", "Neg", "Not", "Or",
    "PRelu", "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
    "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Sign", "Slice", "Softmax", "Softplus",
    "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose",
    "Unsqueeze", "Upsample", "Where",
})
# fmt: on
"""Operators of ONNX that a network may use: none that holds another network or a loop."""

Device = Literal["cpu", "cuda"]
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(n, channels, row, col) → (n, classes, row, col) logits."""


def bundled() -> tuple[ModelCard, bytes]:
    """Return the network that comes with the program."""
    folder = files(__package__)
    card = read_card(folder.joinpath(f"{BUNDLED}.json").read_text("utf-8"))
    return card, folder.joinpath(f"{BUNDLED}.safetensors").read_bytes()


def fetched(item: Asset, work: Workspace) -> tuple[ModelCard, bytes]:
    """Return the network that a STAC MLM Item describes. Raises InvalidInput."""
    card = read_card(work.read_text(item))
    content = work.read_bytes(Asset(href=urljoin(item.href, card.href)), MAX_BYTES)
    card.check(content)
    return card, content


@lru_cache(maxsize=4)
def network(form: str, content: bytes, device: Device) -> tuple[Infer, int]:
    """Return a network ready to run, and what height and width must be multiples of.

    Raises InvalidInput where the file is not what it says, or more than is allowed.
    """
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"weights are larger than {MAX_BYTES >> 20} MiB")
    return _from_onnx(content, device) if form == ONNX else _from_safetensors(content, device)


def _from_safetensors(content: bytes, device: Device) -> tuple[Infer, int]:
    import torch

    from processes.semantics.network import laid

    net = unet(content)
    ready = laid(net.folded(), device)

    def infer(stack: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            values = torch.from_numpy(stack).to(device, memory_format=torch.channels_last)
            return np.asarray(ready(values).cpu().numpy())

    return infer, 2 ** len(net.down)


def unet(content: bytes) -> UNet:
    """Return our own network with the weights of a safetensors file. Raises InvalidInput."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from processes.semantics.network import UNet

    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, OverflowError):
        raise InvalidInput("weights are not a readable safetensors file: fetch it again") from None
    widths = _widths({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    net = UNet(widths, folded=not any("_norm." in name for name in tensors))
    try:
        net.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError:
        raise InvalidInput(
            f"weights are not those of this U-Net with widths {widths}: names or shapes differ"
        ) from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in net.state_dict().values()):
        raise InvalidInput("weights hold numbers that are not finite")
    return net


def _widths(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return how many channels each level has, read off the shapes of the first convolutions."""
    found = {}
    for name, shape in shapes.items():
        level = re.fullmatch(r"down\.(\d{1,2})\.first\.weight", name)
        if level and len(shape) == 4:
            found[int(level[1])] = shape[0]
    if sorted(found) != list(range(len(found))) or not 2 <= len(found) <= MAX_LEVELS:
        raise InvalidInput("weights are not those of this U-Net: its levels are not all there")
    widths = tuple(found[level] for level in range(len(found)))
    if max(widths) > MAX_WIDTH or min(widths) < 1:
        raise InvalidInput(f"weights have more than {MAX_WIDTH} channels in a level")
    return widths


def _from_onnx(content: bytes, device: Device) -> tuple[Infer, int]:
    try:
        import onnxruntime
    except ImportError:
        raise InvalidInput(
            "ONNX weights need onnxruntime, which is not installed here: pip install orograph[onnx]"
        ) from None
    _refuse_unless_plain(content)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    there = device == "cuda" and cuda in onnxruntime.get_available_providers()
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=[cuda, cpu] if there else [cpu]
        )
    except Exception as error:  # its exceptions share no other class
        raise InvalidInput(
            f"weights are not a network that ONNX Runtime loads: {_line(error)}"
        ) from None
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise InvalidInput("an ONNX network must have one input and one output")
    name = session.get_inputs()[0].name

    def infer(stack: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (logits,) = session.run(None, {name: stack})
        except Exception as error:  # as above
            raise InvalidInput(f"the ONNX network fails on a stack: {_line(error)}") from None
        return np.asarray(logits, np.float32)

    return infer, 32


def _refuse_unless_plain(content: bytes) -> None:
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # protobuf's DecodeError lies in a module that it does not promise
        raise InvalidInput("weights are not a readable ONNX file: fetch it again") from None
    if model.functions:
        raise InvalidInput("an ONNX network may not bring functions of its own")
    strange = [
        node.op_type
        for node in model.graph.node
        if node.op_type not in PLAIN or node.domain not in ("", "ai.onnx")
    ]
    if strange or not model.graph.node:
        raise InvalidInput(
            f"an ONNX network may use plain layers only, not {strange[:1] or 'none'}"
        )
    tensors = [*model.graph.initializer]
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    if any(t.data_location == onnx.TensorProto.EXTERNAL or t.external_data for t in tensors):
        raise InvalidInput("an ONNX network may not refer to files beside it: store it in one")


def _line(error: Any) -> str:
    return str(error).splitlines()[0][:150] if str(error) else type(error).__name__
