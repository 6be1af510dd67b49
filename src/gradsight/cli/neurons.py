"""The channels that a decision rested on, in words and in photos that excite them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import gradsight as gs
from gradsight import imaging
from gradsight.cli.options import ReplyOptions
from gradsight.cli.outcomes import each
from gradsight.cli.output import Output
from gradsight.cli.terminal import complain, say, say_json, say_table
from gradsight.cli.viewing import made
from gradsight.errors import ImageError
from gradsight.explaining.notes import of_preprocess
from gradsight.files import is_file
from gradsight.neurons.top_photos import shaped
from gradsight.photos import Photo, find_photos
from gradsight.results.files import label_names

# From so many photos of concepts on, it is said that they take minutes; a concept with fewer than so many is named.
_MANY, _FEW = 200, 10
_DISSECTION = "dissection.npz"


@dataclass(frozen=True)
class Asked:
    """What is wanted to know of one photo.

    Attributes:
        photo: which one.
        concepts: a folder of concepts, or a saved dissection; None to call channels by their numbers.
        images: photos or folders of photos to search for what excites the channels; the concepts' own if empty.
        count: how many channels for and against.
        examples: how many photos for each channel.
        least: the IoU that a channel is named from.
        by: the order of the channels.
        quantile: the share of positions that a channel counts as active at.
    """

    photo: Photo
    concepts: Path | None
    images: Sequence[Path]
    count: int
    examples: int
    least: float
    by: str
    quantile: float


def tell_neurons(explainer: gs.Explainer, targets: Any, asked: Asked, output: Output, reply: ReplyOptions) -> int:
    """Rank the channels, name them, and draw what excites them.

    Returns:
        How many photos failed; each was named on stderr.

    Raises:
        GradsightError: the photo cannot be explained, or what was given does not fit the model.
    """
    # Channels are ranked by the alphas of Grad-CAM (its eq. 1), whatever method draws maps elsewhere.
    explanation = explainer([asked.photo.source], targets=targets, method="gradcam")
    for note in of_preprocess(explanation.preprocess):
        complain(note.in_shell, "Note")
    dissection, shown = _dissected(explainer, asked, explanation.layers[0], output)
    kept: dict[str, Any] = {"dissection": dissection, "least": asked.least, "by": asked.by}
    found = [explanation.neurons(asked.count, 0, j, **kept) for j in range(len(explanation.targets[0]))]
    # Without --images the photos of the concepts are searched: they are there anyway.
    photos, errors = find_photos(asked.images or shown)
    for error in errors:
        complain(str(error), "Failed")
    exciting, failed = _excited(explainer, found, photos, explanation.layers[0], asked.examples)
    failed += len(errors)
    named = label_names([(target.index, target.label) for target in explanation.targets[0]])
    for neurons, label in zip(found, named, strict=True):
        file = None
        if exciting and neurons.channels:
            # The label alone has up to 60 letters, and file systems take 255 bytes.
            file = f"{asked.photo.stem[:60]}.neurons.{label}.png"
            imaging.save(_drawn(exciting, neurons, explanation), output.folder / file)
            made(output.folder / file)
        if reply.as_json:
            say_json({"image": asked.photo.name, **_record(neurons, explanation, exciting), "file": file})
        else:
            _say(neurons, asked, None if file is None else output.folder / file)
    return failed


def _dissected(
    explainer: gs.Explainer, asked: Asked, layer: str, output: Output
) -> tuple[gs.Dissection | None, list[Path]]:
    """The dissection, if concepts were given, and the concepts' photos."""
    if asked.concepts is None:
        return None, []
    if is_file(asked.concepts):
        return gs.Dissection.load(asked.concepts), []
    concepts = gs.Concepts.read(asked.concepts)
    # Before it begins: nothing else is seen until it is done.
    if len(concepts.photos) > _MANY:
        complain(f"{len(concepts.photos)} photos of concepts pass through the model, which may take minutes.", "Note")
    dissection = explainer.dissect(concepts, layer=layer, quantile=asked.quantile)
    for name, area in zip(dissection.concepts, dissection.areas, strict=True):
        if not area:
            complain(f"the model sees nothing of the concept {name!r}: its masks are empty, or cropped away.", "Note")
    few = [name for name, count in zip(dissection.concepts, dissection.counts, strict=True) if count < _FEW]
    if few:
        names = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        complain(
            f"{len(few)} of {len(dissection.concepts)} concepts have fewer than {_FEW} photos, and a channel may be "
            f"named after one of them by chance: {names}",
            "Note",
        )
    # For a later call: --concepts takes this file, and the photos need not pass through the model again.
    dissection.save(output.folder / _DISSECTION)
    return dissection, [photo.path for photo in concepts.photos]


def _excited(
    explainer: gs.Explainer, found: Sequence[gs.Neurons], photos: Sequence[Photo], layer: str, k: int
) -> tuple[gs.TopActivating | None, int]:
    """What excites the channels, and how many photos failed."""
    # One search for all targets: channels often speak for several of them, and each photo passes only once.
    channels = list(dict.fromkeys(channel for neurons in found for channel in neurons.channels))

    def exciting(some: Sequence[Photo]) -> gs.TopActivating:
        return explainer.top_activating([Path(photo.name) for photo in some], channels, layer=layer, k=k)

    if not (photos and channels):
        return None, 0
    try:
        excited, failed = exciting(photos), 0
    # No photo can be read: each by itself would say the same again.
    except ImageError:
        raise
    except Exception:  # of a batch, in which one photo may be at fault; each by itself shows which
        outcomes = list(each(photos, lambda photo: exciting([photo])))
        failed = sum(outcome.complain() for outcome in outcomes)
        excited = exciting([outcome.photo for outcome in outcomes if outcome.error is None])
    for text in excited.failed:
        complain(text, "Failed")
    return excited, failed + len(excited.failed)


def _drawn(exciting: gs.TopActivating, neurons: gs.Neurons, explanation: gs.Explanation) -> Image.Image:
    """The explained photo with the sentence beside it, and a row of photos for each channel."""
    remarks = {}
    for side, rows in (("for", neurons.positive), ("against", neurons.negative)):
        for x in rows:
            name = [] if x.name is None else [f"{x.name}, IoU {x.iou:.2f}"]
            remarks[x.channel] = [*name, f"{side} {neurons.label}, alpha {x.alpha:.2g}", f"here {x.activation:.2g}"]
    about = [
        neurons.sentence,
        f"Layer {neurons.layer}. A row is a channel: the photos that excite it most, and where. Under each photo is "
        'the channel\'s largest activation in it; "here" is its mean activation in the photo above.',
    ]
    photo, placement = explanation.photos[0], explanation.placements[0]
    # Only what the model saw: the examples beside it are cut in the same way.
    top, left, bottom, right = placement.seen
    seen = shaped(photo.crop((left, top, right, bottom)), placement)
    return exciting.figure(seen, about, channels=neurons.channels, remarks=remarks)


def _record(neurons: gs.Neurons, explanation: gs.Explanation, exciting: gs.TopActivating | None) -> dict[str, Any]:
    """One target as plain values."""
    record: dict[str, Any] = {
        "model": explanation.model,
        "preprocess": explanation.record(0).preprocess,
        **neurons.record(),
    }
    for row in (*record["positive"], *record["negative"]):
        examples = exciting[row["channel"]] if exciting else ()
        row["examples"] = [{"image": str(x.path), "activation": x.activation, "peak": list(x.peak)} for x in examples]
    return record


def _say(neurons: gs.Neurons, asked: Asked, file: Path | None) -> None:
    """The sentence and the table, for people."""
    say((neurons.sentence, "bold"))
    rows = []
    for side, found in (("for", neurons.positive), ("against", neurons.negative)):
        for x in found:
            iou = "-" if x.iou is None else f"{x.iou:.2f}"
            active = f"{x.activation:.3g}" if x.activation else "0: silent"
            rows.append([side, str(x.channel), f"{x.alpha:.3g}", active, f"{x.contribution:.3g}", iou, x.name or "-"])
    say_table(["", "channel", "alpha", "active here", "both", "IoU", "detects"], rows)
    if asked.concepts is None:
        say(("Names come from photos of concepts: --concepts DIR", "dim"))
    if file is not None:
        say("What excites them: ", (str(file), "bold cyan"))
    say()
