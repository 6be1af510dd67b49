"""What arguments take, as data: a few small rules, each with its words and its way to read a value.

A value of the user's own may fail when its length, its items or a comparison is asked for. This is no error of
gradsight: such a value breaks every rule, see `tried`.
"""

from gradsight.rules.kinds import Choice, Each, Either, Flag, Function, Instance, Name, Rule, Text, tried
from gradsight.rules.numbers import Array, Box, Number, Sides, Whole

__all__ = [
    "Array",
    "Box",
    "Choice",
    "Each",
    "Either",
    "Flag",
    "Function",
    "Instance",
    "Name",
    "Number",
    "Rule",
    "Sides",
    "Text",
    "Whole",
    "tried",
]
