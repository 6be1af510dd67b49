"""Grids: what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont

from gradsight.errors import InvalidArgument
from gradsight.imaging import Legend, Row, grid
from gradsight.imaging.panel import shortened, wrapped
from pictures import where

RED, GREEN = (255, 0, 0), (0, 255, 0)
PHOTO = Image.new("RGB", (30, 20), (0, 0, 255))


def marked(colour: tuple[int, int, int]) -> Image.Image:
    """White-less, with a square of a colour in the upper left corner."""
    pixels = np.full((20, 30, 3), 90, np.uint8)
    pixels[:5, :5] = colour
    return Image.fromarray(pixels)


def test_each_cell_is_in_its_row_and_column_and_not_mirrored() -> None:
    grey = Image.new("RGB", (30, 20), (90, 90, 90))
    rows = [Row("one", (), [(marked(RED), ""), (grey, "")]), Row("two", (), [(grey, ""), (marked(GREEN), "")])]
    found = grid(PHOTO, ["about"], [["a"], ["b"]], rows, height=80)
    (photo,), (red,), (green,) = where(found, (0, 0, 255)), where(found, RED), where(found, GREEN)
    assert (photo[2] - photo[0], photo[3] - photo[1]) == (80, 120)
    cells = where(found, (90, 90, 90))
    assert len(cells) == 4
    assert red[2] < green[0]
    assert red[3] < green[1]
    assert photo[2] < red[0]
    (one, _), (_, four) = [sorted(cells[i : i + 2], key=lambda cell: cell[1]) for i in (0, 2)]
    for mark, cell in ((red, one), (green, four)):
        assert mark[:2] == pytest.approx(cell[:2], abs=1)
        assert (mark[2] - mark[0], mark[3] - mark[1]) == pytest.approx((20, 20), abs=3)


def test_a_failed_row_says_why_and_the_others_stay() -> None:
    cells = [(marked(RED), "x")]
    rows = [Row("one", (), cells), Row("bad", failure="does not fit " * 30), Row("three", (), cells)]
    found = grid(PHOTO, ["about"], [["a"]], rows, height=80)
    first, last = where(found, RED)
    between = np.asarray(found)[first[0] + 100 : last[0] - 5].astype(int)
    assert ((between[..., 0] - between[..., 1]) > 60).any()  # written in red
    assert len(where(found, (90, 90, 90))) == 2
    short = grid(PHOTO, ["about"], [["a"]], [rows[0], Row("bad", failure="no"), rows[2]], height=80)
    assert short.height < found.height


@pytest.mark.parametrize("columns", [1, 3, 5])
@pytest.mark.parametrize("rows", [1, 6, 30])
def test_grids_stay_in_bounds_and_show_every_cell(rows: int, columns: int) -> None:
    found = grid(
        PHOTO,
        ["a photo.jpg", "the model says a lot of things " * 4],
        [["a rather long name of a class", "score 1.00"]] * columns,
        [Row(f"Method {i}", ["a remark " * 9], [(marked(RED), "strength 100%")] * columns) for i in range(rows)],
        legends=[Legend("plasma", "nothing", "most")],
    )
    assert len(where(found, RED)) == rows * columns
    assert found.width * found.height < 9_000_000
    assert max(found.size) <= 4000
    if rows == 30:
        assert 0.5 < found.width / found.height < 2.5
    edges = np.asarray(found.convert("L"))
    assert (edges[:, -2:] == 255).all()
    assert (edges[-2:] == 255).all()


def test_rows_go_down_and_then_to_the_next_block() -> None:
    colours = [(250, 10 * i, 0) for i in range(20)]
    rows = [Row(str(i), (), [(Image.new("RGB", (30, 20), c), "")]) for i, c in enumerate(colours)]
    found = np.asarray(grid(PHOTO, [], [["a"]], rows, height=100)).astype(int)
    at = [np.argwhere((found == c).all(axis=2)).mean(axis=0) for c in colours]
    order = sorted(range(20), key=lambda i: (round(at[i][1] / 50), at[i][0]))
    assert order == list(range(20))


def test_the_legend_shows_the_map_from_low_to_high() -> None:
    row = Row("x", (), [(marked(RED), "")])
    legend = Legend("bwr", "less", "more")
    picture = np.asarray(grid(marked(GREEN), ["a"], [["a"]], [row], legends=[legend])).astype(int)
    blue = np.argwhere((picture[..., 2] > 240) & (picture[..., 0] < 20) & (picture[..., 1] < 20))
    red = np.argwhere((picture[:100, :, 0] > 240) & (picture[:100, :, 1] < 20))
    assert blue[:, 1].max() < red[:, 1].min()


def test_wrong_grids_are_refused() -> None:
    row = Row("x", (), [(PHOTO, "")])
    for arguments in (([], [row]), ([["a"]], []), ([["a"], ["b"]], [row])):
        with pytest.raises(InvalidArgument, match=r"grid needs|each row needs"):
            grid(PHOTO, [], *arguments)
    with pytest.raises(InvalidArgument, match="`height` must be a whole number"):
        grid(PHOTO, [], [["a"]], [row], height=0)


def test_texts_break_between_words_and_end_in_an_ellipsis() -> None:
    font = ImageFont.load_default(12)
    text = "the quick brown fox jumps over the lazy dog " * 3
    lines = wrapped(text, font, 100)
    assert " ".join(lines) == " ".join(text.split())
    assert all(font.getlength(line) <= 100 for line in lines)
    assert wrapped(text, font, 100, 2)[-1].endswith("…")
    assert len(wrapped(text, font, 100, 2)) == 2
    unbroken = wrapped("x" * 100, font, 100)
    assert "".join(unbroken) == "x" * 100
    assert all(font.getlength(line) <= 100 for line in unbroken)
    assert wrapped("", font, 100) == []
    assert shortened("abc", font, 1) in ("…", "abc")


class _Counting:
    """A font whose letters are one pixel wide, and which counts those that it measures."""

    letters = 0

    def getlength(self, text: str) -> float:
        self.letters += len(text)
        return len(text)


def test_of_an_endless_text_no_more_is_measured_than_is_drawn() -> None:
    for most in (1, 50):
        font = _Counting()
        lines = wrapped("x" * 1_000_000, font, 100, most)
        assert [len(line) for line in lines] == [100] * most
        # Each line is found by halves of at most 256 letters.
        assert font.letters < 3000 * most
