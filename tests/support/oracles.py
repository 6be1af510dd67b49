"""Every method once more: the paper's formula, slow and plain, in NumPy float64 over loops.

A row takes a `plain.Plain`, and the method's options, and gives (n, k, *s) maps. Formulas come from the papers (or the
authors' code where there is no formula to be had), before the final ReLU and scaling; random numbers are drawn as the
methods say they draw them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import ndimage

ORACLES: dict[str, Callable[..., Any]] = {}


def oracle(name: str) -> Callable[[Any], Any]:
    def enter(function: Any) -> Any:
        def row(view: Any, gradients: Any = None, **options: Any) -> Any:
            """Activations (n, c, *s) and gradients (n, k, c, *s) by themselves make a view for the rows of a layer."""
            if gradients is not None:
                n, k = gradients.shape[:2]
                view = SimpleNamespace(activations=view, gradients=gradients, n=n, k=k)
            return function(view, **options)

        ORACLES[name] = row
        return row

    return enter


def pairs(view: Any) -> Iterator[tuple[int, int]]:
    return itertools.product(range(view.n), range(view.k))


def weighted(view: Any, weights: Any, activations: Any = None) -> Any:
    """Channels added up by (n, k, c) weights."""
    activations = view.activations if activations is None else activations
    maps = np.zeros((view.n, view.k, *activations.shape[2:]))
    for i, j in pairs(view):
        for c in range(activations.shape[1]):
            maps[i, j] += weights[i, j, c] * activations[i, c]
    return maps


def enlarged(values: Any, size: Sequence[int]) -> Any:
    """One map at another size: linear between the centres of pixels, level beyond the outer ones."""
    for axis, new in enumerate(size):
        old = values.shape[axis]
        centres = [(p + 0.5) * old / new - 0.5 for p in range(new)]
        values = np.apply_along_axis(lambda row, at=centres: np.interp(at, range(len(row)), row), axis, values)
    return values


def unit(values: Any) -> Any:
    low, high = values.min(), values.max()
    return np.zeros_like(values) if high == low else (values - low) / (high - low)


def normal(shape: Sequence[int], seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32).astype(np.float64)


def softmax(values: Any) -> Any:
    return np.exp(values - values.max()) / np.exp(values - values.max()).sum()


def for_all_targets(view: Any, maps: Any) -> Any:
    return np.stack([[one] * view.k for one in maps])


@oracle("gradcam")
def gradcam(view: Any) -> Any:
    """Eqs. 1 and 2."""
    weights = np.zeros(view.gradients.shape[:3])
    for i, j in pairs(view):
        for c in range(weights.shape[2]):
            weights[i, j, c] = sum(view.gradients[i, j, c].ravel()) / view.gradients[i, j, c].size
    return weighted(view, weights)


@oracle("cam")
def cam(view: Any) -> Any:
    """Eq. 2: the head's own weights."""
    return weighted(view, view.head_weights[view.classes])


@oracle("gradcampp")
def gradcampp(view: Any) -> Any:
    """Eqs. 5 and 19 with Y = exp(S), then divided by exp(S)."""
    weights = np.zeros(view.gradients.shape[:3])
    for i, j in pairs(view):
        y = math.exp(view.scores[i, j])
        for c in range(weights.shape[2]):
            a = view.activations[i, c].sum()
            for g in view.gradients[i, j, c].ravel():
                first, second, third = y * g, y * g**2, y * g**3
                below = 2 * second + a * third
                alpha = second / below if below != 0 else 0.0
                weights[i, j, c] += alpha * max(first, 0) / y
    return weighted(view, weights)


@oracle("smoothgradcampp")
def smoothgradcampp(view: Any, *, samples: int = 8, noise: float = 0.15, seed: int = 0) -> Any:
    """Grad-CAM++ with each derivative averaged over noisy images."""
    drawn = [view.gradients_at(images) for images in noisy(view, samples, noise, seed)]
    first, second, third = (sum(g**power for g in drawn) / samples for power in (1, 2, 3))
    weights = np.zeros(first.shape[:3])
    for i, j in pairs(view):
        for c in range(weights.shape[2]):
            a = view.activations[i, c].sum()
            for at in np.ndindex(*first.shape[3:]):
                d1, d2, d3 = (d[(i, j, c, *at)] for d in (first, second, third))
                weights[i, j, c] += (d2 / (2 * d2 + a * d3) if 2 * d2 + a * d3 != 0 else 0.0) * max(d1, 0)
    return weighted(view, weights)


def noisy(view: Any, samples: int, noise: float, seed: int) -> Iterator[Any]:
    for sample in range(samples):
        drawn = normal(view.images.shape[1:], seed + sample)  # one for all images
        yield np.stack([x + noise * (x.max() - x.min()) * drawn for x in view.images])


@oracle("xgradcam")
def xgradcam(view: Any) -> Any:
    """Eq. 7: sum over positions of (activation / its sum) * gradient."""
    weights = np.zeros(view.gradients.shape[:3])
    for i, j in pairs(view):
        for c in range(weights.shape[2]):
            a = view.activations[i, c]
            if a.sum() != 0:
                weights[i, j, c] = sum((a / a.sum() * view.gradients[i, j, c]).ravel())
    return weighted(view, weights)


@oracle("hirescam")
def hirescam(view: Any) -> Any:
    maps = np.zeros((view.n, view.k, *view.activations.shape[2:]))
    for i, j in pairs(view):
        for c in range(view.activations.shape[1]):
            maps[i, j] += view.gradients[i, j, c] * view.activations[i, c]
    return maps


@oracle("layercam")
def layercam(view: Any) -> Any:
    """Eqs. 6 and 7: each position weighed by its own gradient, where it is positive."""
    maps = np.zeros((view.n, view.k, *view.activations.shape[2:]))
    for i, j in pairs(view):
        for c in range(view.activations.shape[1]):
            for at in np.ndindex(*maps.shape[2:]):
                maps[(i, j, *at)] += max(view.gradients[(i, j, c, *at)], 0) * view.activations[(i, c, *at)]
    return maps


@oracle("shapleycam")
def shapleycam(view: Any) -> Any:
    slopes = view.gradients - view.hessian(view.activations) / 2
    return weighted(view, slopes.reshape(*slopes.shape[:3], -1).mean(axis=-1))


@oracle("finercam")
def finercam(view: Any, *, rivals: int = 3, strength: float = 0.6) -> Any:
    """The mean over the rivals of the Grad-CAM maps of y_c - strength * y_d; rivals have the nearest scores."""
    total = 0
    for rank in range(rivals):
        nearest = np.zeros(view.classes.shape, int)
        for i, j in pairs(view):
            own = view.classes[i, j]
            others = [d for d in range(view.logits.shape[1]) if d != own]
            nearest[i, j] = sorted(others, key=lambda d: abs(view.logits[i, d] - view.logits[i, own]))[rank]
        total = total + (gradcam(view) - strength * gradcam(view.with_targets(nearest))) / rivals
    return total


@oracle("eigencam")
def eigencam(view: Any) -> Any:
    """O = U S V^T, O v_1, with the sign that agrees with the sum of the channels."""
    return for_all_targets(view, [first_principal(a) for a in view.activations])


@oracle("eigengradcam")
def eigengradcam(view: Any) -> Any:
    maps = np.zeros((view.n, view.k, *view.activations.shape[2:]))
    for i, j in pairs(view):
        maps[i, j] = first_principal(view.gradients[i, j] * view.activations[i], centred=True)
    return maps


def first_principal(channels: Any, *, centred: bool = False) -> Any:
    """(c, *s) channels, seen as features of the positions, on their first right singular vector: (*s)."""
    o = channels.reshape(len(channels), -1).T
    o = o - o.mean(axis=0) if centred else o
    projected = o @ np.linalg.svd(o, full_matrices=False)[2][0]
    return (projected * np.sign(projected @ o.sum(axis=1))).reshape(channels.shape[1:])


@oracle("kpcacam")
def kpcacam(view: Any, *, kernel: str = "sigmoid", gamma: float | None = None) -> Any:
    """Kernel PCA of the positions, their channels centred."""
    maps = []
    for channels in view.activations:
        x = channels.reshape(len(channels), -1).T
        x = x - x.mean(axis=0)
        factor = 1 / x.shape[1] if gamma is None else gamma
        by_pair = {
            "sigmoid": lambda a, b, f=factor: math.tanh(f * float(a @ b) + 1),
            "rbf": lambda a, b, f=factor: math.exp(-f * float((a - b) @ (a - b))),
        }[kernel]
        gram = np.array([[by_pair(a, b) for b in x] for a in x])
        middle = np.eye(len(x)) - 1 / len(x)
        values, vectors = np.linalg.eigh(middle @ gram @ middle)
        projected = vectors[:, values.argmax()] * math.sqrt(values.max())
        maps.append((projected * np.sign(projected @ x.sum(axis=1))).reshape(channels.shape[1:]))
    return for_all_targets(view, maps)


@oracle("fem")
def fem(view: Any, *, deviations: float = 2.0) -> Any:
    """Sum of binary maps, each weighed by its channel's mean."""
    maps = np.zeros((view.n, *view.activations.shape[2:]))
    for i, channels in enumerate(view.activations):
        for a in channels:
            mean = sum(a.ravel()) / a.size
            deviation = math.sqrt(sum((a.ravel() - mean) ** 2) / a.size)
            maps[i] += mean * (a > mean + deviations * deviation)
    return for_all_targets(view, maps)


@oracle("ablationcam")
def ablationcam(view: Any) -> Any:
    """Eq. 3 with the magnitude of the score below: the drop when one channel is 0 everywhere."""
    weights = np.zeros(view.gradients.shape[:3])
    for c in range(weights.shape[2]):
        without = view.activations.copy()
        without[:, c] = 0
        for i, j in pairs(view):
            weights[i, j, c] = (view.scores[i, j] - view.tail(without)[i, j]) / abs(view.scores[i, j])
    return weighted(view, weights)


@oracle("scorecam")
def scorecam(view: Any, *, top: int | None = None, groups: int | None = None) -> Any:
    """Softmax over channels of the scores of the image times the channel, enlarged and scaled to [0, 1]."""
    channels = []
    for a in view.activations:
        if top is not None:
            a = a[sorted(range(len(a)), key=lambda c, a=a: -a[c].std())[:top]]
        if groups is not None:
            edges = [round(g * len(a) / groups) for g in range(groups + 1)]
            a = np.stack([a[low:high].mean(axis=0) for low, high in itertools.pairwise(edges) if high > low])
        channels.append(a)
    return by_masks(view, np.stack(channels), lambda masks, c: [masks])


@oracle("sscam")
def sscam(view: Any, *, samples: int = 35, std: float = 2.0, seed: int = 0) -> Any:
    """Score-CAM, the score averaged over noise on the mask; each channel and sample with a seed of its own."""

    def versions(masks: Any, c: int) -> list[Any]:
        # One noise for all images.
        return [masks + std * normal(masks.shape[2:], seed + 7919 * sample + c) for sample in range(samples)]

    return by_masks(view, view.activations, versions)


@oracle("iscam")
def iscam(view: Any, *, samples: int = 10) -> Any:
    """Score-CAM, the score integrated over the strength of the masked image, from 1 / samples to 1."""
    strengths = [step / samples for step in range(1, samples + 1)]
    return by_masks(view, view.activations, lambda masks, c: [strength * masks for strength in strengths])


def by_masks(view: Any, channels: Any, versions: Callable[[Any, int], list[Any]]) -> Any:
    """Channels (n, c, *s) added up by the softmax of the mean score under versions of their masks (n, 1, *size)."""
    scores = np.zeros((view.n, view.k, channels.shape[1]))
    for c in range(channels.shape[1]):
        masks = np.stack([unit(enlarged(a, view.images.shape[2:])) for a in channels[:, c]])[:, None]
        seen = [view.score(view.images * mask) for mask in versions(masks, c)]
        scores[:, :, c] = sum(seen) / len(seen)
    weights = np.array([[softmax(scores[i, j]) for j in range(view.k)] for i in range(view.n)])
    return weighted(view, weights, channels)


@oracle("rise")
def rise(view: Any, *, masks: int = 1000, cells: int = 7, share: float = 0.5, seed: int = 0) -> Any:
    """Eq. 6, less the mean score of all masks, with masks as the authors' code makes them: cells first, then shifts."""
    size = view.images.shape[2:]
    random = np.random.default_rng(seed)
    maps = np.zeros((view.n, view.k, *size))
    drawn = []
    for _ in range(masks):
        coarse = (random.random((cells,) * len(size)) < share).astype(float)
        steps = [math.ceil(side / cells) for side in size]
        large = enlarged(coarse, [(cells + 1) * step for step in steps])
        for axis, (step, side) in enumerate(zip(steps, size, strict=True)):
            shift = int(random.integers(step))
            large = np.take(large, range(shift, shift + side), axis=axis)
        drawn.append((large, view.score(view.images * large)))
    mean = sum(scores for _, scores in drawn) / masks
    for large, scores in drawn:
        for i, j in pairs(view):
            maps[i, j] += (scores[i, j] - mean[i, j]) * large / (masks * share)
    return maps


@oracle("occlusion")
def occlusion(view: Any, *, window: float = 0.2, stride: float = 0.1, fill: float = 0.0) -> Any:
    """The mean loss over the windows that cover a position; the last window of a row ends at the border."""
    size = view.images.shape[2:]
    places = []
    for side in size:
        length, step, first, row = max(1, round(window * side)), max(1, round(stride * side)), 0, []
        while first + length < side:
            row.append((first, first + length))
            first += step
        places.append([*row, (side - length, side)])
    total, covered = np.zeros((view.n, view.k, *size)), np.zeros(size)
    for place in itertools.product(*places):
        at = tuple(slice(*edges) for edges in place)
        hidden = view.images.copy()
        hidden[(slice(None), slice(None), *at)] = fill
        lost = view.scores - view.score(hidden)
        covered[at] += 1
        for i, j in pairs(view):
            total[(i, j, *at)] += lost[i, j]
    assert covered.min() > 0
    return total / covered


def strongest(gradients: Any) -> Any:
    maps = np.zeros((*gradients.shape[:2], *gradients.shape[3:]))
    for channel in range(gradients.shape[2]):
        maps = np.maximum(maps, np.abs(gradients[:, :, channel]))
    return maps


@oracle("gradient")
def gradient(view: Any) -> Any:
    return strongest(view.image_gradients)


@oracle("smoothgrad")
def smoothgrad(view: Any, *, samples: int = 16, noise: float = 0.15, seed: int = 0) -> Any:
    drawn = [view.image_gradients_at(images) for images in noisy(view, samples, noise, seed)]
    return strongest(sum(drawn) / samples)


@oracle("integratedgradients")
def integratedgradients(view: Any, *, steps: int = 32, baseline: float = 0.0) -> Any:
    """Eq. 3; the integral by Gauss-Legendre, from the roots of the Legendre polynomial and its slope there."""
    legendre = np.polynomial.Legendre.basis(steps)
    nodes = legendre.roots().real  # NumPy 2.5 gives complex numbers, whatever they are
    weights = 2 / ((1 - nodes**2) * legendre.deriv()(nodes) ** 2)
    total = 0
    for node, weight in zip(nodes, weights, strict=True):
        point = baseline + (node + 1) / 2 * (view.images - baseline)
        total = total + weight / 2 * view.image_gradients_at(point)
    return (total * (view.images - baseline)[:, None]).sum(axis=2)


@oracle("guidedbackprop")
def guidedbackprop(view: Any) -> Any:
    return strongest(view.rectified_gradients("guided"))


@oracle("deconvnet")
def deconvnet(view: Any) -> Any:
    return strongest(view.rectified_gradients("deconvnet"))


@oracle("guidedgradcam")
def guidedgradcam(view: Any) -> Any:
    coarse, fine = gradcam(view), guidedbackprop(view)
    size = view.images.shape[2:]
    return np.stack(
        [[enlarged(np.maximum(coarse[i, j], 0), size) * fine[i, j] for j in range(view.k)] for i in range(view.n)]
    )


@oracle("fullgrad")
def fullgrad(view: Any) -> Any:
    """Eq. 4: psi is abs, scaled to [0, 1] over a whole layer, enlarged, added up over channels."""
    size = view.images.shape[2:]
    maps = np.zeros((view.n, view.k, *size))
    for j in range(view.k):
        terms = [view.image_gradients[:, j] * view.images, *view.bias_terms(j)]
        for term in terms:
            if term.ndim == view.images.ndim:
                for i in range(view.n):
                    for channel in unit(np.abs(term[i])):
                        maps[i, j] += enlarged(channel, size)
    return maps


@oracle("refinecam")
def refinecam(view: Any) -> Any:
    """The product of the Grad-CAM++ maps of all layers, scaled to [0, 1] as they are, enlarged, and at the end."""
    return fused([gradcampp(layer) for layer in view.layers], view.images.shape[2:], np.prod)


def fused(maps: Sequence[Any], size: Sequence[int], together: Callable[..., Any]) -> Any:
    """(n, k, *s) maps of several layers after their ReLU, each scaled, enlarged, scaled, and put together, scaled."""
    n, k = maps[0].shape[:2]
    rows = np.zeros((n, k, *size))
    for i, j in np.ndindex(n, k):
        parts = [unit(enlarged(unit(np.maximum(m[i, j], 0)), size)) for m in maps]
        rows[i, j] = unit(together(np.stack(parts), axis=0))
    return rows


@oracle("edge")
def edge(view: Any) -> Any:
    """The length of the Sobel gradient of the mean colour."""
    maps = []
    for image in view.images:
        grey = image.mean(axis=0)
        slopes = [ndimage.sobel(grey, axis, mode="nearest") for axis in range(grey.ndim)]
        maps.append(np.sqrt(sum(slope**2 for slope in slopes)))
    return for_all_targets(view, maps)


@oracle("centre")
def centre(view: Any) -> Any:
    """A bell in the middle of the image, a quarter of each side wide."""
    maps = []
    for image in view.images:
        bell = np.zeros(image.shape[1:])
        for at in np.ndindex(*bell.shape):
            squares = [(((i + 0.5) / side - 0.5) / 0.25) ** 2 for i, side in zip(at, bell.shape, strict=True)]
            bell[at] = math.exp(-sum(squares) / 2)
        maps.append(bell)
    return for_all_targets(view, maps)


@oracle("random")
def random(view: Any, *, seed: int = 0) -> Any:
    drawn = normal((view.k, *view.activations.shape[2:]), seed)
    return np.stack([drawn] * view.n)  # one for all images


def folded(view: Any, tokens: Any) -> Any:
    """Values (n, k, t) at the cells of the grid, each the token that the model has there."""
    maps = np.zeros((*tokens.shape[:2], *view.grid))
    for number, at in enumerate(np.ndindex(*view.grid)):
        maps[(slice(None), slice(None), *at)] = tokens[:, :, view.positions[number]]
    return maps


def rows_read(view: Any, i: int, j: int, matrix: Any) -> Any:
    """The mean of the rows of the tokens that a score reads."""
    return sum(matrix[token] for token in view.read[i][j]) / len(view.read[i][j])


@oracle("attention")
def attention(view: Any, *, head: int | None = None) -> Any:
    """The last call that asks the layer's tokens: rows that are read, or the mean of all where another call is last."""
    asks, _, weights = [call for call in view.calls if call[1] == 0][-1]
    chosen = weights.mean(axis=1) if head is None else weights[:, head]
    tokens = np.zeros((view.n, view.k, weights.shape[-1]))
    for i, j in pairs(view):
        tokens[i, j] = rows_read(view, i, j, chosen[i]) if asks == view.calls[-1][0] else chosen[i].mean(axis=0)
    return folded(view, tokens)


@oracle("attentionrollout")
def attentionrollout(view: Any, *, heads: str = "mean", discard: float = 0.0, start: int = 0) -> Any:
    """Eq. 1, one large matrix over the tokens of all sequences; rows of tokens that do not ask stay as they are."""
    sizes = [next(w.shape[2] for asks, _, w in view.calls if asks == s) for s in range(view.sequences)]
    ends = np.cumsum(sizes)
    parts = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    first = [number for number, call in enumerate(view.calls) if call[:2] == (0, 0)][start]
    tokens = np.zeros((view.n, view.k, sizes[0]))
    for i, j in pairs(view):
        product = np.eye(ends[-1])
        product[sizes[0] :] = 0  # other sequences hold nothing of the image yet
        for asks, asked, weights in view.calls[first:]:
            fused = {"mean": np.mean, "max": np.max, "min": np.min}[heads](weights[i], axis=0)
            order = np.argsort(fused, axis=None)[: int(discard * fused.size)]
            for flat in order:
                row, column = np.unravel_index(flat, fused.shape)
                if asked != 0 or column in view.positions:
                    fused[row, column] = 0
            step = np.eye(ends[-1])
            for row, values in zip(parts[asks], fused, strict=True):
                step[row, parts[asked].start : parts[asked].stop] += values
                step[row] /= step[row].sum()
            product = step @ product
        last = product[parts[view.calls[-1][0]].start : parts[view.calls[-1][0]].stop, : sizes[0]]
        tokens[i, j] = rows_read(view, i, j, last)
    return folded(view, tokens)


@oracle("gradientrollout")
def gradientrollout(view: Any) -> Any:
    """Eqs. 5 to 11, for each image and target; every sequence holds something of every other."""
    sizes = [next(w.shape[2] for asks, _, w in view.calls if asks == s) for s in range(view.sequences)]
    tokens = np.zeros((view.n, view.k, sizes[0]))
    for i, j in pairs(view):
        r = {(a, b): np.zeros((sizes[a], sizes[b])) for a, b in itertools.product(range(len(sizes)), repeat=2)}
        r.update({(a, a): np.eye(size) for a, size in enumerate(sizes)})
        for (asks, asked, weights), gradients in zip(view.calls, view.call_gradients, strict=True):
            by_head = zip(gradients[i, j], weights[i], strict=True)
            a = np.mean([np.maximum(g * w, 0) for g, w in by_head], axis=0)
            new = dict(r)
            for other in range(len(sizes)):
                new[asks, other] = r[asks, other] + a @ r[asked, other]
            if asks != asked:
                new[asks, asked] = r[asks, asked] + normalised(r[asks, asks]).T @ a @ normalised(r[asked, asked])
            r = new
        last = view.calls[-1][0]
        matrix = r[0, 0] - np.eye(sizes[0]) if last == 0 else r[last, 0]
        tokens[i, j] = rows_read(view, i, j, matrix)
    return folded(view, tokens)


def normalised(matrix: Any) -> Any:
    beyond = matrix - np.eye(len(matrix))
    sums = beyond.sum(axis=1, keepdims=True)
    return np.divide(beyond, sums, out=np.zeros_like(beyond), where=sums != 0) + np.eye(len(matrix))


@oracle("legrad")
def legrad(view: Any, *, blocks: int | None = None) -> Any:
    chosen = view.formation_gradients[-(blocks or len(view.formation_gradients)) :]
    tokens = np.zeros((view.n, view.k, chosen[0].shape[-1]))
    for i, j in pairs(view):
        for gradients in chosen:
            tokens[i, j] += np.maximum(gradients[i, j], 0).mean(axis=(0, 1)) / len(chosen)
    return folded(view, tokens)
