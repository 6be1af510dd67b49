"""Small networks, each with one property that has broken an explainer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def convolutional(
    *, dimensions: int = 2, inplace: bool = False, norm: bool = True, classes: int = 5, width: int = 6
) -> nn.Sequential:
    """Conv, (norm,) ReLU, stride-2 conv, ReLU, mean, linear; one, two or three spatial axes."""
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    batch_norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimensions - 1]
    return nn.Sequential(
        conv(3, 4, 3, padding=1),
        batch_norm(4) if norm else nn.Identity(),
        nn.ReLU(inplace=inplace),
        conv(4, width, 3, stride=2, padding=1),
        nn.ReLU(inplace=inplace),
        pool(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(width, classes),
    ).eval()


class Reused(nn.Module):
    """One ReLU for everything; its last call is the map before pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.relu, self.head = nn.ReLU(), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.two(self.relu(self.one(x))))
        return self.head(self.relu(x.mean((2, 3))))


class Bypassed(nn.Module):
    """A branch with an own head: nothing inside of the branch is a cut, and ``branch`` is bypassed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(torch.cat((x.mean((2, 3)), self.branch(x).mean((2, 3))), dim=1))


class Residual(nn.Module):
    """Conv blocks with skips; the side branch ``shortcut`` runs last and is no cut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.join = nn.ReLU()
        self.shortcut = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        joined = self.join(stem + self.body(stem))
        return self.head(torch.cat((joined.mean((2, 3)), self.shortcut(joined).amax((2, 3))), dim=1))


class Tokens(nn.Module):
    """A two-block transformer over patches with ``extra`` leading tokens; the head reads the first token."""

    def __init__(self, *, patch: int = 4, extra: int = 1, sequence_first: bool = False) -> None:
        super().__init__()
        self.sequence_first = sequence_first
        self.patches = nn.Conv2d(3, 12, patch, stride=patch)
        self.extra = nn.Parameter(torch.randn(1, extra, 12))
        self.blocks = nn.ModuleList(_Block(sequence_first) for _ in range(2))
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.extra.expand(len(x), -1, -1), x), dim=1)
        x = x.transpose(0, 1) if self.sequence_first else x
        for block in self.blocks:
            x = block(x)
        return self.head(x[0] if self.sequence_first else x[:, 0])


class _Block(nn.Module):
    def __init__(self, sequence_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=not sequence_first)
        self.mlp = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(x)


class ChannelsLast(nn.Module):
    """Features of shape (n, h, w, c), as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.mix = nn.Sequential(nn.Linear(12, 12), nn.GELU())
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


class AttentionPool(nn.Module):
    """A latent query attends over the map: (n, tokens, c) to (n, c), through one key-value projection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.randn(1, 1, channels))
        self.kv = nn.Linear(channels, 2 * channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        key, value = self.kv(x).chunk(2, dim=-1)
        return F.scaled_dot_product_attention(self.latent.expand(len(x), -1, -1), key, value)[:, 0]


class Pooled(nn.Module):
    """Tokens, a block, and an attention pool."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.block = nn.Sequential(nn.Linear(12, 12), nn.GELU())
        self.pool, self.head = AttentionPool(12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.block(self.patches(x).flatten(2).transpose(1, 2))))


class ClassMap(nn.Module):
    """A fully convolutional classifier: a score map for each class, then the mean, as in SqueezeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(6, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x)).flatten(1)


class Restless(nn.Module):
    """Counts its calls in a buffer and draws random numbers, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = convolutional()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = x
        return self.body(x) + 1e-3 * torch.rand(())


class NoGradStem(nn.Module):
    """Its forward leaves the graph for the backbone, the explained layer included."""

    def __init__(self) -> None:
        super().__init__()
        self.body = convolutional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = self.body[:5](x)
        return self.body[5:](x)


class TwoInputs(nn.Module):
    """An image and a row of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat((self.features(image).mean((2, 3)), row), dim=1))


class Answering(nn.Module):
    """Wraps a model and gives its scores in another shape: a dict, a tuple, an object."""

    def __init__(self, body: nn.Module, how: str) -> None:
        super().__init__()
        self.body, self.how = body, how

    def forward(self, x: torch.Tensor) -> Any:
        scores = self.body(x)
        return {
            "dict": {"aux": scores[:, :1] * 0, "logits": scores},
            "tuple": (scores, scores.mean()),
            "object": SimpleNamespace(logits=scores),
            "deep": scores[:, :, None, None],
            "single": scores[:, 0],
        }[self.how]


def curved(*, dimensions: int = 2, classes: int = 5, bias: bool = True) -> nn.Sequential:
    """Layer "4" is followed by a convolution and a tanh, so that its gradients differ by position and bend.

    The normalisation has statistics, so that it adds something. It takes inputs of 12 x 10 x 8 and other sizes.
    """
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    batch_norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimensions - 1]
    model = nn.Sequential(
        conv(3, 4, 3, padding=1, bias=bias),
        batch_norm(4),
        nn.ReLU(),
        conv(4, 6, 3, stride=2, padding=1, bias=bias),
        nn.ReLU(),
        conv(6, 4, 3, padding=1, bias=bias),
        nn.Tanh(),
        pool(2),
        nn.Flatten(),
        nn.Linear(4 * 2**dimensions, classes),
    ).eval()
    for values in (model[1].running_mean, model[1].bias.data):
        values.normal_(0, 0.3)
    for values in (model[1].running_var, model[1].weight.data):
        values.uniform_(0.5, 1.5)
    return model


def linear_tail(*, classes: int = 5) -> nn.Sequential:
    """All behind the ReLU "1" is linear and tells positions apart: a strided pooling, then one weight for each."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6 * 3 * 2, classes)
    ).eval()
