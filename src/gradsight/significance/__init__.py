"""Whether figures of images tell methods apart: intervals, paired tests, and Holm's correction for many of them.

An image is what is drawn at random, so that images are what is resampled. All methods are measured on the same images:
what is compared is the difference on each image, which varies far less than the figures do.
"""

from gradsight.significance.bootstrap import FEW, Interval, interval, share
from gradsight.significance.signs import Pair, Paired, all_pairs, beats, holm, paired

__all__ = ["FEW", "Interval", "Pair", "Paired", "all_pairs", "beats", "holm", "interval", "paired", "share"]
