"""What a match is worth, on a GPU: what `checks` and the patches of `match` do, by torch."""

from __future__ import annotations

import torch
from torch import Tensor

from processes.stereo.checks import NOISE, Reason
from processes.stereo.sgm import NOTHING


def settled(
    best: Tensor,
    near: Tensor,
    rival: Tensor,
    back: Tensor,
    ok: Tensor,
    there_ok: Tensor,
    pad: int,
    per_px: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return disparities, reasons and how far behind the second best is; see `checks.settled`."""
    known = ok != 0
    before, low, after = near.unbind(2)
    a, b = (before - low).float(), (after - low).float()
    tip = 0.5 * (a - b) / torch.maximum(a, b).clamp(min=1)
    nothing = int(NOTHING)
    offset = torch.where(known & (before != nothing) & (after != nothing), tip, 0.0)
    disparity = ((best.double() + offset) / per_px).float()
    clear = (rival - low).clamp(min=0).float() / (rival.float() + float(NOISE))
    col = torch.arange(best.shape[1], device=best.device)
    at = (col + (best.double() / per_px).round().long()).clamp(0, back.shape[1] - 1)
    seen_at = (col * per_px + best.long() + pad).clamp(0, there_ok.shape[1] - 1)
    agree = (back.gather(1, at) - best).abs() <= per_px
    reason = torch.where(agree, int(Reason.MATCHED), int(Reason.MISMATCH))
    reason = torch.where(there_ok.gather(1, seen_at) == 0, int(Reason.OUTSIDE), reason)
    reason = torch.where(known, reason, int(Reason.NO_DATA))
    return disparity, reason.to(torch.uint8), torch.where(known, clear, 0.0)


def compared(there: Tensor, reason: Tensor, back: Tensor, agree_px: float) -> Tensor:
    """Return reasons by what the right image, matched by itself, says; see `checks.compared`."""
    cols = there.shape[1]
    at = torch.arange(cols, device=there.device) + there.round().long()
    other = back.gather(1, at.clamp(0, back.shape[1] - 1))
    agree = (reason != Reason.MISMATCH) & ((there + other).abs() <= agree_px)
    owner = (at + other.round().long()).clamp(0, cols - 1)
    apart = torch.where(agree.gather(1, owner), int(Reason.OCCLUDED), int(Reason.MISMATCH))
    said = torch.where(agree, int(Reason.MATCHED), apart).to(torch.uint8)
    gone = (reason == Reason.NO_DATA) | (reason == Reason.OUTSIDE)
    return torch.where(gone, reason, said)
