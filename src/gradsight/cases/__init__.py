"""What metrics look at: the maps of one method for one batch, and the model's scores of other images."""

from gradsight.cases.case import Case
from gradsight.cases.removal import BASELINE, BASELINES, ends
from gradsight.cases.scoring import Scoring

__all__ = ["BASELINE", "BASELINES", "Case", "Scoring", "ends"]
