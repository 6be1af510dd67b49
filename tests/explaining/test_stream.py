"""A stream of photos: order, failures, laziness, threads, memory, and batches that are as large as is quick."""

from __future__ import annotations

import gc
import io
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
import toys
from gradsight.errors import ImageError, InvalidArgument
from gradsight.explaining import read_ahead
from gradsight.explaining import stream as streaming
from gradsight.explaining.asked import asked_of
from gradsight.explaining.batch_sizes import BatchSize
from gradsight.explaining.calls import of_prepared
from gradsight.photos import Explained, Failed, out_of_memory

PREPROCESS = gs.Preprocess((16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
ROWS: list[int] = []


class Counting(torch.nn.Module):
    """It notes how many rows each of its passes had, and fails on what is too much for it."""

    def __init__(self, most: int = 10**6, dark: bool = False) -> None:
        super().__init__()
        self.body, self.most, self.dark = toys.convolutional(), most, dark

    def forward(self, x: torch.Tensor) -> Any:
        ROWS.append(len(x))
        if len(x) > self.most:
            raise RuntimeError("CUDA out of memory")
        if self.dark and bool((x.mean((1, 2, 3)) < -0.99).any()):
            raise RuntimeError("it is too dark here")
        return self.body(x)


def pictures(count: int, size: tuple[int, int] = (24, 20)) -> list[Image.Image]:
    random = np.random.default_rng(1)
    return [Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8)) for _ in range(count)]


def explainer(model: Any = None, preprocess: Any = PREPROCESS, **options: Any) -> gs.Explainer:
    model = Counting().eval() if model is None else model
    return gs.Explainer(model, preprocess=preprocess, layer=options.pop("layer", "body.2"), **options)


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("gradsight-reading")]


def all_ended() -> bool:
    """Whether no thread reads any more; they have nothing to do then, and end by themselves."""
    deadline = time.monotonic() + 5
    while reading_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return reading_threads() == []


def test_photos_of_every_kind_come_back_in_their_order_and_as_in_a_call(tmp_path: Path) -> None:
    first, *others = photos = pictures(9)
    first.save(tmp_path / "first.png")
    data = io.BytesIO()
    others[0].save(data, "PNG")

    class Named:
        source = tmp_path / "first.png"

    given: list[Any] = [tmp_path / "first.png", str(tmp_path / "first.png"), data.getvalue(), np.asarray(others[1])]
    given += [Named(), *others[2:]]
    same = [first, first, others[0], others[1], first, *others[2:]]
    own = explainer(method=["gradcam", "gradient"], targets=gs.Top(2))
    ROWS.clear()
    done = list(own.stream(iter(given), batch_size=4))
    assert [x.photo is photo for x, photo in zip(done, given, strict=True)] == [True] * len(given)
    assert max(ROWS) == 4
    for outcome, picture in zip(done, same, strict=True):
        assert isinstance(outcome, Explained)
        for ours, alone in zip(outcome.explanations, own(picture), strict=True):
            np.testing.assert_allclose(ours.maps, alone.maps, rtol=1e-4, atol=1e-7)
            assert (ours.method, ours.targets, ours.target_notes) == (alone.method, alone.targets, alone.target_notes)
            assert np.array_equal(np.asarray(ours.photos[0]), np.asarray(picture))
            assert ours.placements == alone.placements
            assert ours.record(0).targets[0].label == alone.record(0).targets[0].label
    assert outcome.explanation is outcome.explanations[0]
    assert len(photos) == 9


def test_a_stream_may_go_into_a_call_bit_by_bit() -> None:
    """One batch of a stream holds the very bits of a call."""
    photos = pictures(4)
    own = explainer()
    together = own(photos)
    for i, outcome in enumerate(own.stream(photos, batch_size=4)):
        np.testing.assert_array_equal(outcome.explanation.maps[0], together.maps[i])


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_what_fails_is_a_value_and_stops_nothing(batch_size: int, tmp_path: Path) -> None:
    good = pictures(5)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    black = Image.new("RGB", (24, 20))
    given = [good[0], tmp_path / "missing.png", good[1], black, good[2], tmp_path / "damaged.png", good[3], 5, good[4]]
    own = explainer(Counting(dark=True).eval())
    done = list(own.stream(given, batch_size=batch_size))
    assert [type(x) for x in done] == [Explained, Failed] * 4 + [Explained]
    assert [isinstance(x.error, ImageError) for x in done if isinstance(x, Failed)] == [True, False, True, False]
    failed = [x for x in done if isinstance(x, Failed)]
    assert "missing.png" in str(failed[0].error)
    assert "too dark" in str(failed[1].error)
    assert failed[0].photo == tmp_path / "missing.png"
    assert all(x.error.__traceback__ is None for x in failed)
    for outcome, picture in zip((x for x in done if isinstance(x, Explained)), good, strict=True):
        np.testing.assert_allclose(outcome.explanation.maps, own(picture).maps, rtol=1e-4, atol=1e-7)


def test_where_all_fail_each_is_told() -> None:
    done = list(explainer().stream(pictures(5), targets="no such class", batch_size=4))
    assert [type(x) for x in done] == [Failed] * 5
    ROWS.clear()
    assert len({str(x.error) for x in done if isinstance(x, Failed)}) == 1


def test_sizes_are_grouped_and_the_order_stays() -> None:
    wide, high = pictures(7, (24, 20)), pictures(7, (20, 24))
    mixed = [photo for pair in zip(wide, high, strict=True) for photo in pair]
    own = explainer(preprocess=gs.Preprocess((64, 64), fit="none"))
    ROWS.clear()
    done = list(own.stream(mixed, batch_size=4))
    assert [x.photo is photo for x, photo in zip(done, mixed, strict=True)] == [True] * 14
    assert [x.explanation.input_size for x in done] == [(20, 24), (24, 20)] * 7
    passes = [rows for rows in ROWS if rows > 1]
    assert max(ROWS) == 4
    assert passes.count(4) >= 2  # of each size, though no two neighbours have one
    with pytest.raises(InvalidArgument, match=r"explainer\.stream\(photos\)"):
        own(mixed)


def test_an_endless_generator_is_asked_for_no_more_than_two_batches() -> None:
    asked: list[int] = []

    def endless() -> Iterator[Image.Image]:
        for i in itertools.count():
            assert threading.current_thread() is threading.main_thread()
            asked.append(i)
            yield Image.new("RGB", (24, 20), (i % 256, 9, 9))

    stream = explainer().stream(endless(), batch_size=3)
    assert asked == []
    for i, outcome in enumerate(itertools.islice(stream, 20)):
        assert outcome.explanation.photos[0].getpixel((0, 0))[0] == i % 256
        assert len(asked) <= i + 1 + 2 * 3
    stream.close()
    assert all_ended()
    with pytest.raises(StopIteration):
        next(stream)


def test_an_error_of_the_iterable_comes_after_what_it_gave() -> None:
    def broken() -> Iterator[Image.Image]:
        yield from pictures(5)
        raise OSError("the disk is gone")

    done: list[Any] = []
    stream = explainer().stream(broken(), batch_size=4)
    with pytest.raises(OSError, match="the disk is gone"):
        done.extend(stream)
    assert [type(x) for x in done] == [Explained] * 5
    assert all_ended()


@pytest.mark.parametrize("how", ["end", "close", "error", "with", "forgotten"])
def test_threads_end(how: str) -> None:
    own = explainer()
    stream = own.stream(pictures(12), batch_size=2)
    assert reading_threads() == []  # nothing is done before the first is asked for
    next(stream)
    assert reading_threads()
    if how == "end":
        list(stream)
    elif how == "close":
        stream.close()
    elif how == "with":
        with stream:
            next(stream)
    elif how == "forgotten":
        del stream
        gc.collect()
    else:

        def interrupted(*_: Any) -> Any:
            raise KeyboardInterrupt

        stream._make = interrupted
        with pytest.raises(KeyboardInterrupt):
            list(stream)
    assert all_ended()


def test_a_stream_is_closed_whatever_lock_the_thread_holds() -> None:
    # The garbage collector may close one in the midst of Python's own work with threads, as with this lock held.
    lock = getattr(threading, "_shutdown_locks_lock", None) or threading.Lock()  # of Python before 3.13
    begun, stream = threading.Event(), explainer().stream(pictures(8), batch_size=2)
    next(stream)

    def close() -> None:
        with lock:
            begun.set()
            stream.close()

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    assert begun.wait(5)
    deadline = time.monotonic() + 5
    while closing.is_alive() and time.monotonic() < deadline:  # not joined: that takes the same lock
        time.sleep(0.01)
    assert not closing.is_alive()


def test_a_stream_that_is_closed_waits_for_what_is_being_read_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, going_on = threading.Event(), threading.Event()

    class Waiting(gs.Preprocess):
        def place(self, image: Any) -> Any:
            if image.size == (40, 30):
                reading.set()
                going_on.wait(20)
            return super().place(image)

    def closed(patience: float) -> float:
        reading.clear()
        going_on.clear()
        monkeypatch.setattr(read_ahead, "_PATIENCE", patience)
        photos = [*pictures(1), *pictures(1, (40, 30))]
        stream = explainer(preprocess=Waiting(16)).stream(photos, batch_size=1)
        next(stream)
        assert reading.wait(5)
        threading.Timer(0.3, going_on.set).start()
        start = time.monotonic()
        stream.close()
        return time.monotonic() - start

    assert closed(10.0) > 0.25
    assert closed(0.01) < 0.25


@pytest.mark.parametrize("batch_size", [2, 8])
def test_a_hundred_photos_take_the_memory_of_two_batches(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: set[int] = set()
    most = 0

    def read(source: Any) -> Image.Image:
        picture = Image.new("RGB", (24, 20), (source, source, 0))
        alive.add(source)
        weakref.finalize(picture, alive.remove, source)
        return picture

    monkeypatch.setattr("gradsight.explaining.inputs.read_image", read)
    for i, outcome in enumerate(explainer().stream(range(100), batch_size=batch_size)):  # type: ignore[arg-type]
        assert outcome.explanation.photos[0].getpixel((0, 0))[0] == i
        most = max(most, len(alive))
        del outcome
    assert i == 99
    assert most <= 2 * batch_size + 1


def test_photos_of_a_camera_are_fewer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_MOST_PIXELS", 5 * 24 * 20)
    ROWS.clear()
    done = list(explainer().stream(pictures(23), batch_size=16))
    assert len(done) == 23
    assert max(ROWS) <= 5
    assert 4 in ROWS or 5 in ROWS


def test_a_hundred_photos_in_a_call_pass_a_batch_at_a_time() -> None:
    ROWS.clear()
    found = explainer(batch_size=8)(pictures(100))
    assert found.maps.shape[0] == 100
    assert max(ROWS) == 8


def test_functions_of_the_user_run_in_one_thread_at_a_time() -> None:
    inside = threading.Lock()

    class Own:
        def place(self, picture: Image.Image) -> Any:
            assert inside.acquire(blocking=False)
            try:
                time.sleep(0.003)  # long enough for the others to come
                return PREPROCESS.place(picture)
            finally:
                inside.release()

    done = list(explainer(preprocess=Own()).stream(pictures(30), batch_size=8))
    assert [type(x) for x in done] == [Explained] * 30


def timed(rates: dict[int, float], steps: int = 40) -> tuple[BatchSize, list[int]]:
    """Sizes that are tried where so many photos a second pass in batches of each size."""
    size, tried = BatchSize("auto"), []
    for _ in range(steps):
        tried.append(size.now)
        size.timed(size.now, size.now / rates.get(size.now, 0.1))
    return size, tried


def test_the_quickest_batch_is_found() -> None:
    size, tried = timed({1: 10, 2: 15, 4: 22, 8: 22.5, 16: 99})
    assert (size.now, max(tried)) == (4, 8)  # 2 % more is no gain
    assert timed({1: 20, 2: 12})[0].now == 1
    assert timed({2**i: 2.0**i for i in range(12)})[0].now == 256
    slow_at_first = BatchSize("auto")
    for seconds in (9.0, 0.1, 9.0, 0.1):  # the first batch of a size is traced
        slow_at_first.timed(slow_at_first.now, seconds)
    assert slow_at_first.now == 4
    slow_at_first.timed(3, 0.001)  # a rest says nothing
    assert slow_at_first.now == 4
    fixed = BatchSize(5)
    fixed.timed(5, 1)
    fixed.too_large()
    assert fixed.now == 5


def test_auto_stops_where_memory_ends() -> None:
    ROWS.clear()
    stream = explainer(Counting(most=4).eval()).stream(pictures(60), batch_size="auto")
    stream._size.timed = lambda *_: None  # type: ignore[method-assign]
    stream._size.now, stream._size._best = 8, 4
    done = list(stream)
    assert [type(x) for x in done] == [Explained] * 60
    assert stream.batch_size == 4
    assert ROWS.count(8) == 1
    assert out_of_memory(MemoryError())
    assert not out_of_memory(ValueError("no"))


def test_auto_explains_what_a_fixed_size_does() -> None:
    photos = pictures(30)
    own = explainer()
    stream = own.stream(photos, batch_size="auto")
    for outcome, photo in zip(stream, photos, strict=True):
        np.testing.assert_allclose(outcome.explanation.maps, own(photo).maps, rtol=1e-4, atol=1e-7)
    assert stream.batch_size in {1, 2, 4, 8, 16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": [1, 2]}, "`targets` must be one for all photos of a stream"),
        ({"targets": np.array([1, 2])}, "`targets` must be one for all photos of a stream"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1 or 'auto'"),
        ({"batch_size": "many"}, "There is no batch size 'many'"),
        ({"method": []}, "`method` must name at least one"),
        ({"method": "gradcan"}, "no method 'gradcan'"),
    ],
)
def test_what_a_stream_does_not_take_is_told_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gs.GradsightError, match=message):
        explainer().stream(pictures(2), **options)


def test_without_a_preprocess_it_is_told_at_once() -> None:
    signals = gs.Explainer(toys.convolutional(dimensions=1))
    with pytest.raises(InvalidArgument, match="no `preprocess`"):
        signals.stream(pictures(2))


def test_several_explanations_of_a_photo_are_what_a_call_gives() -> None:
    made = explainer(layer="body.2")
    photo, methods = pictures(1)[0], ["gradcam", "layercam"]
    (done,) = made.stream([photo], method=methods)
    assert isinstance(done, Explained)
    assert type(done.explanations) is type(made(photo, method=methods))
    assert "<img" in done.explanations._repr_html_()  # type: ignore[attr-defined]


def test_no_batch_has_photos_of_two_blocks_and_none_is_small_beside_its_edge() -> None:
    given = pictures(40)
    given[3], given[17] = b"no picture", pictures(1, (30, 44))[0]  # type: ignore[call-overload]
    ROWS.clear()
    numbers = {id(photo): i for i, photo in enumerate(given)}
    own = explainer(preprocess=gs.Preprocess((16, 16), fit="squash"))
    explain = of_prepared(own._passes, asked_of(own, None, None, None))
    seen: list[list[int]] = []

    def make(photos: Any, prepared: Any) -> list[Any]:
        seen.append([numbers[id(photo)] for photo in photos])
        return explain(prepared)[0].maps.tolist()

    batches = streaming.Batches(given, make, own._passes.preparing(), 4, lambda photo: numbers[id(photo)] // 10)
    with batches:
        assert [isinstance(one, Failed) for one in batches] == [i == 3 for i in range(40)]
    # Ten photos are four, four and two; of those with a broken one, four, four and one.
    assert seen[:3] == [[0, 1, 2, 4], [5, 6, 7, 8], [9]]
    assert [len(batch) for batch in seen[3:]] == [4, 4, 2] * 3
