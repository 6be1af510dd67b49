"""Names of files that are made, and the lines of JSON."""

from __future__ import annotations

import json
import math
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradsight.cli.terminal import to_json
from gradsight.errors import printable
from gradsight.names import distinct, safe
from gradsight.photos import find_photos
from gradsight.results.files import label_names, layer_names

WORDS = st.lists(st.sampled_from(["cat", "Cat", "cat-2", "cat-3", "cat-2-2", "dog", "straße", "STRASSE"]), max_size=12)


@given(WORDS)
def test_distinct_names_are_distinct_where_case_does_not_count(names):
    made = distinct(names)
    assert len({name.casefold() for name in made}) == len(names)
    for old, new in zip(names, made, strict=True):
        assert new == old or new.startswith(f"{old}-")


def test_the_first_holder_keeps_a_name():
    assert distinct(["cat", "cat", "cat-2", "cat"]) == ["cat", "cat-3", "cat-2", "cat-4"]


@given(st.text(max_size=200))
def test_safe_text_is_short_ascii_of_few_letters(text):
    assert set(safe(text)) <= set(string.ascii_letters + string.digits + "_-")
    assert len(safe(text)) <= 60


@given(st.lists(st.text(alphabet="aA/ .[é", max_size=4), max_size=8))
def test_targets_get_a_name_each(labels):
    names = label_names(list(enumerate(labels)))
    assert len({name.lower() for name in names}) == len(labels)
    assert all(name and "/" not in name and not name.startswith(".") for name in names)


def test_an_index_in_a_label_cannot_collide_with_one_appended():
    names = label_names([(1, "a"), (2, "A"), (3, "a 1")])
    assert len({name.lower() for name in names}) == 3


@pytest.mark.parametrize(
    "targets",
    [
        [(0, "cat"), (1, "Cat"), (2, "cat_1")],
        [(None, "against a/b"), (None, "against a b"), (None, "猫"), (None, "犬")],
        [(3, "猫"), (4, "犬"), (5, "class 3")],
        [(0, "a" * 70 + "b"), (1, "a" * 70 + "c")],
        [(0, "Straße"), (1, "STRASSE"), (None, "strasse")],
    ],
)
def test_labels_that_look_alike_as_files_have_files_of_their_own(targets):
    names = label_names([*targets, targets[0]])
    assert len({name.casefold() for name in names[:-1]}) == len(targets)
    assert names[-1] == names[0]


def test_layers_of_one_safe_name_are_told_apart():
    assert layer_names(["conv/1", "conv_1", "conv/1", ""]) == {"conv/1": "conv_1", "conv_1": "conv_1-2", "": "model"}


def test_a_stem_leaves_room_for_the_rest_of_the_name(tmp_path):
    path = tmp_path / ("é" * 110 + ".png")
    path.write_bytes(b"")
    (photo,), errors = find_photos([path])
    assert errors == []
    assert 90 < len(os.fsencode(photo.stem)) <= 100


def test_values_that_json_lacks_are_null():
    value = {"a": [math.nan, (1.5, -math.inf)], "b": "é"}
    assert to_json(value) == '{"a": [null, [1.5, null]], "b": "\\u00e9"}'
    assert json.loads(to_json(value)) == {"a": [None, [1.5, None]], "b": "é"}


@given(st.text())
def test_shown_text_commands_no_terminal(text):
    assert printable(text).isprintable()
