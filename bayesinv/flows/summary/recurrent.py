"""`RecurrentSummary`: a gated recurrent network along the time of traces, from both ends, to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

__all__ = ["RecurrentSummary"]


class RecurrentSummary(nn.Module):
    """The summary of traces of any length: a bidirectional GRU, whose last states go through a matrix.

    A convolution of kernel ``stride`` and stride ``stride`` comes first, so that the recurrence is that much shorter.
    For a summary by 1-D convolutions see `EncoderSummary` with ``rank=1``.

    Args:
        channels: channels (sensors) of a trace.
        features: length of the condition vector.
        hidden: width of the recurrent state in each direction.
        layers: recurrent layers.
        stride: samples of time that are read at once.

    Raises:
        ValueError: if a number is not positive.

    Source: Cho et al., 2014, arXiv 1406.1078; as a summary: Radev et al., BayesFlow, 2020, arXiv 2003.06281.

    Example:
        >>> RecurrentSummary(2, 4, hidden=8, stride=4)(torch.randn(3, 2, 50)).shape
        torch.Size([3, 4])
    """

    def __init__(self, channels: int, features: int, *, hidden: int = 64, layers: int = 1, stride: int = 1) -> None:
        super().__init__()
        if min(channels, features, hidden, layers, stride) < 1:
            raise ValueError(
                f"expected positive numbers, got channels={channels}, features={features}, hidden={hidden}, "
                f"layers={layers}, stride={stride}"
            )
        self.stride = stride
        self.enter = nn.Conv1d(channels, hidden, stride, stride=stride)
        self.recurrence = nn.GRU(hidden, hidden, layers, batch_first=True, bidirectional=True)
        self.last = nn.Linear(2 * hidden, features)

    def forward(self, c: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The condition ``(batch, features)`` of the traces ``c (batch, channels, time)``.

        Traces that end early are padded; ``lengths (batch,)`` says how many samples of each count.

        Raises:
            ValueError: if ``c`` has not three axes, or a length is not in 1 to time.
        """
        if c.ndim != 3:
            raise ValueError(f"expected traces (batch, channels, time), got a tensor of shape {tuple(c.shape)}")
        time = c.shape[2]
        if lengths is None:
            lengths = torch.full((len(c),), time)
        if lengths.shape != c.shape[:1] or not bool(((lengths >= 1) & (lengths <= time)).all()):
            raise ValueError(f"expected one length in 1 to {time} for each of {len(c)} traces, got {lengths.tolist()}")
        counts = torch.arange(time, device=c.device) < lengths.to(c.device)[:, None]
        c = nn.functional.pad(torch.where(counts[:, None], c, 0.0), (0, -time % self.stride))
        steps = (lengths.cpu() + self.stride - 1) // self.stride
        packed = pack_padded_sequence(self.enter(c).movedim(1, 2), steps, batch_first=True, enforce_sorted=False)
        _, state = self.recurrence(packed)
        out: Tensor = self.last(torch.cat([state[-2], state[-1]], 1))
        return out
