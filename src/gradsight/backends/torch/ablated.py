"""The outputs of a layer with some of its channels switched off, in one tensor that is written into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from gradsight.backends.ablation import Ablation


def ablated_rows(ablations: Iterable[Ablation]) -> Iterator[tuple[Ablation, torch.Tensor]]:
    """Each ablation with its rows, which hold until the next one is asked for.

    From one to the next only the channels that are off are written: a copy of the whole would be as large as all that
    the tail reads.
    """
    rows, copies = torch.empty(0), 0
    for ablation in ablations:
        raw, blank = ablation.raw, ablation.blank
        if copies != len(ablation.groups):  # at first, and in a last round of fewer
            copies = len(ablation.groups)
            rows = torch.cat([raw] * copies, dim=ablation.axis).contiguous()
        sizes = (*raw.shape[: ablation.axis], copies, *raw.shape[ablation.axis :])
        by_group = rows.view(sizes).movedim((ablation.axis, ablation.across), (0, 1))
        groups = torch.from_numpy(ablation.groups).to(raw.device)
        at = torch.arange(copies, device=raw.device)[:, None], groups
        by_group[at] = 0 if blank is None else blank.movedim(ablation.channels, 0)[groups]
        yield ablation, rows
        by_group[at] = raw.movedim(ablation.channels, 0)[groups]
