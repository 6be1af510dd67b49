"""How large a picture becomes on its way into a model, and where the model's input is cut out of it."""

from __future__ import annotations

FITS = ("crop", "squash", "letterbox", "keep", "none")


def resized_to(
    original: tuple[int, int], size: tuple[int, int], fit: str, resize: int | None, rounding: str, multiple: int
) -> tuple[int, int]:
    """(height, width) to which a whole picture of ``original`` (height, width) is resized before it is cut or padded.

    What the others are, `imaging.Preprocess` says.
    """
    if fit == "none":
        return original
    if fit == "crop":
        return _covering(original, size, resize)
    if fit == "keep":
        return _kept(original, size, rounding, multiple)
    room = size if resize is None else tuple(round(side * resize / min(size)) for side in size)
    if fit == "squash":
        return room[0], room[1]
    scale = min(room[0] / original[0], room[1] / original[1])
    # A whole number may come out as 223.9999999, which cutting off would make 223.
    height, width = (side * scale + (1e-6 if rounding == "down" else 0) for side in original)
    whole = int if rounding == "down" else round
    return max(1, whole(height)), max(1, whole(width))


def offset(have: int, want: int, rounding: str) -> int:
    """Where a centred cut begins, as in torchvision's ``center_crop``; negative where the picture must be padded."""
    if have < want:
        return -(round((want - have) / 2) if rounding == "even" else (want - have) // 2)
    return (have - want) // 2 if rounding == "down" else round((have - want) / 2)


def _covering(original: tuple[int, int], size: tuple[int, int], resize: int | None) -> tuple[int, int]:
    height, width = original
    if resize is None:  # the smallest picture that covers the input
        scale = max(size[0] / height, size[1] / width)
        # To cut off what is behind the point may leave a side one pixel short of what is to be covered.
        return max(size[0], int(height * scale)), max(size[1], int(width * scale))
    long = int(resize * max(original) / min(original))  # torchvision's rounding
    return (resize, long) if height <= width else (long, resize)


def _kept(original: tuple[int, int], size: tuple[int, int], rounding: str, multiple: int) -> tuple[int, int]:
    """The shorter side at min(size), or less where the longer one would exceed max(size).

    Rounded ``"down"`` as transformers does for DETR, and to the ``"nearest"`` as it does for ViLT.
    """
    short: float = min(size)
    if max(original) / min(original) * short > max(size):
        short = max(size) * min(original) / max(original)
    if multiple == 1 and min(original) == round(short):
        return original  # and not a pixel less, though the longer side may reach one beyond its limit
    lengths = (round(short), short * max(original) / min(original) + (0.5 if rounding == "nearest" else 0))
    small, large = (max(multiple, int(length) // multiple * multiple) for length in lengths)
    return (small, large) if original[0] <= original[1] else (large, small)
