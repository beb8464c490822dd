"""The network: a small U-Net over the seven channels, in torch.

Two by two cells become one with four times the channels, and back at the end: at half the size a
convolution costs a quarter, sees twice as far, and the last layer still tells cells apart
(Shi et al., 2016). With four levels below that a cell is judged by what lies within 45 m. What is
NaN counts as unknown: nought, with a channel that says so, as for the channels that were left out
in training. Normalisations are folded into the convolutions before use.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from processes.semantics.stack import CHANNELS, CLASSES

WIDTHS = (24, 40, 64, 96)
STRIDE = 16
"""Height and width of what the network takes are multiples of this."""
FEATURES = 12


class Stage(nn.Module):
    """Two 3×3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, folded: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.first_norm = nn.Identity() if folded else nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.second_norm = nn.Identity() if folded else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(x)))

    def fold(self) -> None:
        """Put the normalisations into the convolutions; the result is the same in inference."""
        for conv, norm in ((self.first, "first_norm"), (self.second, "second_norm")):
            found = getattr(self, norm)
            if isinstance(found, nn.BatchNorm2d):
                folded = torch.nn.utils.fusion.fuse_conv_bn_weights(
                    conv.weight,
                    conv.bias,
                    cast(Tensor, found.running_mean),
                    cast(Tensor, found.running_var),
                    found.eps,
                    found.weight,
                    found.bias,
                )
                conv.weight, conv.bias = folded
                setattr(self, norm, nn.Identity())


class UNet(nn.Module):
    """(n, 7, row, col), NaN where unknown → (n, 5, row, col) logits of `CLASSES`."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, *, folded: bool = False) -> None:
        """Make a network of random weights; *folded* has no normalisations, as for use."""
        super().__init__()
        self.down = nn.ModuleList(
            Stage(inputs, outputs, folded=folded)
            for inputs, outputs in zip((4 * FEATURES, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            Stage(deep + flat, flat, folded=folded)
            for deep, flat in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 4 * len(CLASSES), 1)

    def forward(self, stack: Tensor) -> Tensor:
        x = functional.pixel_unshuffle(features(stack), 2)
        kept: list[Tensor] = []
        for stage in self.down:
            if kept:
                x = functional.max_pool2d(x, 2)
            x = stage(x)
            kept.append(x)
        kept.pop()
        for stage in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = stage(torch.cat([x, kept.pop()], 1))
        return functional.pixel_shuffle(self.head(x), 2)

    def folded(self) -> UNet:
        """Return itself, ready for use: without normalisations, in evaluation."""
        self.eval()
        with torch.no_grad():
            for stage in (*self.down, *self.up):
                cast(Stage, stage).fold()
        return self


def laid(net: UNet, device: Literal["cpu", "cuda"] = "cpu") -> UNet:
    """Return a network on a device, channels last: a third faster than rows of each channel."""
    moved = net.to(device)
    return cast(UNet, moved.to(memory_format=torch.channels_last))  # type: ignore[call-overload]  # torch's stubs leave it out


def features(stack: Tensor) -> Tensor:
    """Return what the first layer sees: logarithms of colours, heights twice, what is known."""
    known = torch.logical_not(torch.isnan(stack))
    values = torch.where(known, stack, torch.zeros_like(stack))
    colours, height = values[:, :4], values[:, 4:5].clamp(-10.0, 100.0)
    has = known.to(stack.dtype)
    tones = torch.log2(colours.clamp(1 / 64, 64.0)) * 0.5 * has[:, :4]
    return torch.cat(
        [
            tones,
            _asinh(height) * 0.5,
            height * 0.1,
            values[:, 5:6].clamp(-1.0, 1.0) * 2.0,
            values[:, 6:7] * 2.0 - 1.2 * has[:, 6:7],
            has[:, 0:1],
            has[:, 3:4],
            has[:, 4:5],
            has[:, 6:7],
        ],
        1,
    )


def _asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine, in operations that ONNX files are made of."""
    size = x.abs()
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1.0))


assert len(CHANNELS) == 7
