"""Maps drawn: over their photo, alone, and all targets of an image in one figure."""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np
from PIL import Image

from gradsight import imaging
from gradsight.checks import index as index_of
from gradsight.checks import optional
from gradsight.errors import InvalidType
from gradsight.foreign import Array
from gradsight.results import drawing
from gradsight.results.regions import Regions


class Look(TypedDict, total=False):
    """How heat is drawn.

    Attributes:
        colormap: a colour map's name; by default plasma, and a diverging one for a signed map.
        opacity: ``"value"``: the hotter, the less of the photo shows through; or a number from 0 (the photo alone) to 1
            (the colours alone).
        scale: as in `Explanation.heatmaps`.
        signed: as in `Explanation.heatmaps`.
    """

    colormap: str | None
    opacity: str | float
    scale: str | float
    signed: bool | None


_WORDS = {"alpha": "opacity", "cmap": "colormap", "colourmap": "colormap", "img": "photo", "class_index": "target"}
"""What others call our arguments."""


class Pictures(Regions):
    """Maps with their pictures; see `Explanation`."""

    def overlay(
        self,
        image: int = 0,
        target: int = 0,
        *,
        photo: Array = None,
        max_side: int | None = None,
        **look: Unpack[Look],
    ) -> Image.Image:
        """Draw one heatmap on its photo, at the photo's size, and the box that the target is about, if it is.

        A signal is drawn as lines over its heat, with an axis that counts samples; a volume or a video as slices along
        its first axis around the peak, each with its index. What was explained is given as ``photo``; without it the
        heat alone is drawn.

        Args:
            image: which image.
            target: which of its targets.
            photo: what to draw on, for an explanation made from arrays. The picture is taken for the whole input. Of a
                signal or a volume it is one of the batch, such as ``batch[0]``: (channels, *positions) or as the model
                has its axes, or (*positions).
            max_side: the most pixels that the longer side of the picture has; a larger photo is made smaller first.
            **look: ``colormap``, ``opacity``, ``scale`` and ``signed``; see `Look`.

        Raises:
            InvalidArgument: there is no photo, ``photo`` is not as large as the model's input, or the map has other
                axes than that.
            InvalidType: an argument of another name.

        >>> from gradsight.results.example import example
        >>> example().overlay(opacity=0.5).size
        (60, 40)
        >>> example().overlay(max_side=30).size
        (30, 20)
        """
        _check_words(look)
        image, target = self._at(image, target)
        max_side = optional("max_side", max_side, imaging.MAX_SIDE, "Pass 1024.")
        if not self._is_picture:
            return imaging.shrunk(self._on_input(image, target, photo, look), max_side)
        if photo is None:
            self._need_photo()
            return self._on_photo(image, target, imaging.shrunk(self.photos[image], max_side), look)
        # Before the heat is laid on it: to draw on the large photo first would take far longer.
        drawn_on = imaging.shrunk(imaging.read_image(photo), max_side)
        # Nothing says where the input lay on a photo that is given here: as a batch has it, it is the whole.
        whole = imaging.Placement.whole((drawn_on.height, drawn_on.width), self._input_of_picture)
        return self._drawn(image, target, drawn_on, whole, look)

    def figure(
        self, image: int = 0, *, height: int | None = None, photo: Array = None, **look: Unpack[Look]
    ) -> Image.Image:
        """The photo and an overlay for each target side by side, with captions.

        Under the photo stands what the model was asked, and what it says or wrote. Under a signed map a line says which
        colour speaks for what. Of signals and volumes one is drawn under the other. Of a picture that was given as an
        array, without a ``photo``, the heat alone is drawn.

        Args:
            image: which image.
            height: of each picture in pixels; 320 by default, and of signals and volumes what `overlay` draws.
            photo: as in `overlay`.
            **look: ``colormap``, ``opacity``, ``scale`` and ``signed``; see `Look`.

        Raises:
            InvalidArgument: as `overlay`.
            InvalidType: an argument of another name.

        >>> from gradsight.results.example import example
        >>> example().figure(height=100).size
        (312, 126)
        """
        _check_words(look)
        image = index_of("image", image, len(self.maps))
        height = optional("height", height, imaging.HEIGHT, "Pass 320.")
        pictures = [self._for_figure(image, j, height, photo, look) for j in range(self.maps.shape[1])]
        plain = self._without_heat(image, photo)
        return drawing.figure(self, image, pictures, plain, height, look)

    def heat_image(self, image: int = 0, target: int = 0, **look: Unpack[Look]) -> Image.Image:
        """One heatmap alone as a transparent picture (RGBA), of the photo's size, to lay on the photo elsewhere.

        Where there is no photo it has the size of the model's input.

        Args:
            image: which image.
            target: which of its targets.
            **look: ``colormap``, ``opacity``, ``scale`` and ``signed``; see `Look`.

        Raises:
            InvalidArgument: the map is none of a picture.
            InvalidType: an argument of another name.

        >>> from gradsight.results.example import example
        >>> picture = example().heat_image()
        >>> picture.mode, picture.size, picture.getpixel((59, 39))
        ('RGBA', (60, 40), (0, 0, 0, 0))
        """
        _check_words(look)
        image, target = self._at(image, target)
        self._need_picture()
        placed = self.placements[image] if self.placements else self._whole_input()
        heat = self._one_heat(image, target, look.get("scale", "own"), self._signed(look.get("signed")))
        return imaging.transparent(placed.stretched(heat), placed.image_size, self._paint(image, target, look))

    @property
    def _input_of_picture(self) -> tuple[int, int]:
        height, width = self._matching_input()
        return height, width

    def _whole_input(self) -> imaging.Placement:
        """Where the model's input lies on itself."""
        return imaging.Placement.whole(self._input_of_picture, self._input_of_picture)

    def _paint(self, image: int, target: int, look: Look) -> imaging.Paint:
        signed = bool(self._signed(look.get("signed"))[image, target])
        # A map with two signs in a colour map with one end would show what speaks against as nothing.
        otherwise = imaging.DIVERGING if signed else imaging.DEFAULT
        chosen = optional("colormap", look.get("colormap"), imaging.NAME) or otherwise
        return imaging.Paint(chosen, look.get("opacity", "value"), signed)

    def _on_photo(self, image: int, target: int, photo: Image.Image, look: Look) -> Image.Image:
        """One heatmap on its own photo, or on that made smaller."""
        # The map is laid on the smaller photo directly, and never made as large as the original.
        placed = self.placements[image].resized((photo.height, photo.width))
        return self._drawn(image, target, photo, placed, look)

    def _drawn(self, image: int, target: int, photo: Image.Image, placed: imaging.Placement, look: Look) -> Image.Image:
        paint = self._paint(image, target, look)
        heat = self._one_heat(image, target, look.get("scale", "own"), self._signed(look.get("signed")))
        drawn = imaging.draw(photo, placed.stretched(heat), paint, seen=placed.seen)
        place = self.targets[image][target].place
        if not place:
            return drawn
        # The place is in pixels of the original photo, or of the input where there is none.
        height, width = self.placements[image].image_size if self.placements else self._input_of_picture
        times = (drawn.height / height, drawn.width / width) * 2
        return imaging.outlined(drawn, [x * t for x, t in zip(place, times, strict=True)])

    def _on_input(self, image: int, target: int, photo: Array, look: Look) -> Image.Image:
        """One heatmap on the signal or volume that was explained, or alone."""
        values = None if photo is None else drawing.laid_out(photo, self.input_size, self.channel_axis)
        paint = self._paint(image, target, look)
        heat = self._one_heat(image, target, look.get("scale", "own"), self._signed(look.get("signed")))
        dense = self._dense(image, target)
        # Slices are chosen around the strongest place, whichever side it speaks for.
        region = self._hottest(image, np.abs(dense) if paint.signed else dense)
        return drawing.on_input(imaging.resize(heat, self.input_size), values, region, paint)

    def _for_figure(self, image: int, target: int, height: int | None, photo: Array, look: Look) -> Image.Image:
        """One heatmap as a figure shows it: no larger than it is drawn there, which is quicker for a large photo."""
        if not self._is_picture or photo is not None:
            return self.overlay(image, target, photo=photo, **look)
        if not self.placements:
            size = self._input_of_picture
            # As signals and volumes are drawn without what they are of: dark, on which every colour map is seen.
            paper = Image.new("RGB", size[::-1], drawing.PAPER)
            return self._drawn(image, target, paper, self._whole_input(), look)
        own = self.photos[image]
        return self._on_photo(image, target, drawing.lowered(own, height), look)

    def _without_heat(self, image: int, photo: Array) -> Image.Image | None:
        """What the heat is drawn on; None where nothing is given."""
        if self._is_picture:
            own = self.photos[image] if self.placements else None
            return own if photo is None else imaging.read_image(photo)
        if photo is None:
            return None
        values = drawing.laid_out(photo, self.input_size, self.channel_axis)
        return drawing.on_input(np.zeros(self.input_size, np.float32), values, self.region(image), imaging.Paint())


def _check_words(look: Look) -> None:
    """Check the names of arguments.

    Raises:
        InvalidType: there is no argument of that name; it may be the word of another library.
    """
    for word in look:
        if word not in Look.__annotations__:
            # Words that people bring from other libraries get an answer, not only a list.
            ours = _WORDS.get(word)
            hint = f"It is called `{ours}` here." if ours else f"There are: {', '.join(Look.__annotations__)}."
            raise InvalidType(f"there is no argument `{word}`. {hint}")
