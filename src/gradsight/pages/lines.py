"""The lines of Python that make the same maps and pictures."""

from __future__ import annotations

from gradsight.models.spec import ModelSpec
from gradsight.pages.answer import Answer
from gradsight.pages.draw import Look


def lines_of(answer: Answer, look: Look, photo: str = "photo.jpg") -> str:
    """Lines that make an answer again, with its pictures.

    Args:
        answer: what they make.
        look: how it is drawn.
        photo: the file's name.

    Returns:
        Python, which needs gradsight, the photo and the model's own files.
    """
    layers = f", layer={list(answer.asked.layers)!r}" if answer.asked.layers else ""
    targets = answer.explanations[0].targets[0]
    asked = f"targets={_targets(answer)}, method={list(answer.asked.methods)!r}{layers}"
    signed = any(one.signed for one in targets)
    made = [
        *(["from PIL import Image", ""] if look.threshold else []),
        "import gradsight as gs",
        "",
        f"explainer = gs.Explainer({_model(answer.served.explainer.model.spec)})",
        f"explanations = explainer({photo!r}, {asked})",
        "for number, explanation in enumerate(explanations):",
        f"    for target in range({len(targets)}):",
        f"        picture = explanation.overlay(0, target{_look(look, signed)})",
        *_cut(look, signed),
        '        picture.save(f"why-{number}-{target}.png")',
        "        print(explanation.labels[0][target], explanation.maps[0, target].max())",
    ]
    if look.boxes:
        made.append(f"        print(explanation.boxes(0, target, threshold={look.at!r}))")
    return "\n".join(made) + "\n"


def _cut(look: Look, signed: bool) -> list[str]:
    """The lines that leave out what is under the threshold."""
    if not look.threshold:
        return []
    lines = [
        f"mask = Image.fromarray(explanation.mask(0, target, threshold={look.threshold!r}))",
        "picture = Image.composite(picture, explanation.overlay(0, target, opacity=0), mask)",
    ]
    # Maps of two signs are drawn whole, and lie beside others here.
    condition = ["if not explanation.targets[0][target].signed:"] if signed else []
    return [f"        {line}" for line in condition] + ["            "[: 12 if signed else 8] + line for line in lines]


def _look(look: Look, signed: bool) -> str:
    # Maps of two signs have colours of their own, which the library chooses by itself.
    colours = f", colormap={look.colormap!r}" if look.colormap and not signed else ""
    return colours + (f", opacity={look.opacity!r}" if look.opacity is not None else "")


def _targets(answer: Answer) -> str:
    """The targets as they are written in Python; classes by their index, which is never open."""
    found = answer.explanations[0].targets[0]
    if all(one.index is not None and not one.signed for one in found) and not answer.sides:
        return f"gs.Classes({', '.join(str(one.index) for one in found)})"
    first, *rest = dict.fromkeys(answer.asked.classes)
    contrast = "".join(f", gs.Contrast({first}, {second})" for second in rest)
    return f"gs.Several({first}, gs.Against({first}){contrast})"


def _model(spec: ModelSpec | None) -> str:
    if spec is None:  # it was made in Python, where its name is not known here
        return "model"
    if spec == ModelSpec(spec.source):
        return repr(spec.source)
    return f"gs.ModelSpec.from_json({spec.to_json()!r}).load()"
