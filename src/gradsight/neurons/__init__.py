"""What single channels of a layer stand for: which matter for a decision, which photos activate them, what they detect.

Grad-CAM (arXiv:1610.02391), the section on textual explanations, and Network Dissection (arXiv:1704.05796).
"""

from gradsight.neurons.activations import ActivationFn, Activations
from gradsight.neurons.concepts import Concepts
from gradsight.neurons.dissection import Dissection, dissect
from gradsight.neurons.ranking import Neuron, Neurons, ranked
from gradsight.neurons.top_photos import TopActivating, top_activating

__all__ = [
    "ActivationFn",
    "Activations",
    "Concepts",
    "Dissection",
    "Neuron",
    "Neurons",
    "TopActivating",
    "dissect",
    "ranked",
    "top_activating",
]
