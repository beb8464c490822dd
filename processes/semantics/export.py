"""The network as a file: safetensors for this program, ONNX for others."""

from __future__ import annotations

import io
import warnings

import torch
from safetensors.torch import save
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # not in its __all__

from processes.semantics.network import STRIDE, UNet
from processes.semantics.stack import CHANNELS

OPSET = 17


def to_safetensors(net: UNet) -> bytes:
    """Return the weights of a network."""
    return save({name: tensor.contiguous() for name, tensor in net.state_dict().items()})


def to_onnx(net: UNet) -> bytes:
    """Return a folded network as ONNX, input `stack` and output `logits`, of any size.

    Needs the package onnx.
    """
    free = {"stack": {0: "n", 2: "row", 3: "col"}, "logits": {0: "n", 2: "row", 3: "col"}}
    file = io.BytesIO()
    with warnings.catch_warnings():
        # torch's newer exporter needs one more package and fixes the size of pixel_unshuffle
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", TracerWarning)
        torch.onnx.export(
            net.cpu(),
            (torch.rand(1, len(CHANNELS), 4 * STRIDE, 4 * STRIDE),),
            file,  # type: ignore[arg-type]  # a buffer is as good as a name
            dynamo=False,
            input_names=["stack"],
            output_names=["logits"],
            dynamic_axes=free,
            opset_version=OPSET,
        )
    return file.getvalue()
