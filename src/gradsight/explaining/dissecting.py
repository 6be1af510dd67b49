"""What the channels of an explainer's layers detect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradsight.explaining.activations import activations_at
from gradsight.explaining.layer_choice import Layers
from gradsight.explaining.passes import Passes
from gradsight.neurons import ActivationFn, Concepts, Dissection, TopActivating, dissect, top_activating
from gradsight.targets import TargetLike


class Dissecting:
    """The part of an `Explainer` that looks at channels on their own."""

    layer: Layers
    targets: TargetLike | None
    batch_size: int
    _passes: Passes

    def dissect(self, concepts: Concepts | str | Path, *, layer: Layers = None, quantile: float = 0.005) -> Dissection:
        """Name the channels of a layer by the concepts that they detect (Network Dissection, arXiv:1704.05796).

        Args:
            concepts: labelled photos, `Concepts.read`, or their folder. They pass the model ``batch_size`` at a time.
            layer: the layer's name or module, instead of the explainer's own.
            quantile: the share of positions that a channel is taken to be active at, in (0, 1).

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        size = self.batch_size
        return dissect(
            self._activations(layer), concepts, model=self._passes.model.name, batch_size=size, quantile=quantile
        )

    def top_activating(
        self, photos: Sequence[str | Path], channels: Sequence[int], *, layer: Layers = None, k: int = 4
    ) -> TopActivating:
        """Find the photos that excite channels of a layer most.

        Args:
            photos: their paths. They pass the model ``batch_size`` at a time; those that cannot be read are left out
                and told by the result's ``failed``.
            channels: which channels, from 0.
            layer: the layer's name or module, instead of the explainer's own.
            k: how many photos for each channel.

        Raises:
            GradsightError: with what was wrong, what was received and what to do; none of the photos can be read.
        """
        return top_activating(self._activations(layer), photos, channels, k=k, batch_size=self.batch_size)

    def _activations(self, layer: Layers) -> ActivationFn:
        """What passes photos through the model to one layer."""
        # None asks for the explainer's own, which may be None as well: the layer to choose.
        return activations_at(self._passes, self.layer if layer is None else layer, self.targets)
