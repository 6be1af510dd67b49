"""Whether scores are piecewise linear in a layer's output, by the graph that the pass recorded."""

from __future__ import annotations

import torch
from torch.autograd.graph import get_gradient_edge

from gradsight.backends.torch.gradients import with_gradient
from gradsight.backends.torch.graph import Node, topological

_OF_EACH = """
Add Sub Rsub Neg Sum Mean Cat Stack Split SplitWithSizes UnsafeSplit Unbind View UnsafeView ReshapeAlias T
Transpose Permute Squeeze Unsqueeze Expand Select Slice Index IndexSelect Gather Clone Alias ToCopy
ConstantPadNd ReflectionPad2D ReplicationPad2D AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D
UpsampleNearest2D UpsampleBilinear2D MaxPool2DWithIndices MaxPool3DWithIndices AdaptiveMaxPool2D Relu
LeakyRelu Hardtanh Threshold Clamp ClampMin ClampMax Maximum Minimum Abs
"""
"""Linear, or linear in pieces, in all that goes in together."""

_OF_ONE = """
Mul Mm Bmm Mv Addmm Baddbmm Addbmm Convolution CudnnConvolution MkldnnConvolution PreluKernel
"""
"""Linear in each of what goes in while the others are fixed."""

_NORMALISATIONS = ("NativeBatchNorm", "CudnnBatchNorm")
"""Linear where they have statistics of their own."""


def is_piecewise_linear(scores: torch.Tensor, leaf: torch.Tensor) -> bool:
    """Whether every operator between a layer's output and scores is linear, or linear in pieces, in the former.

    Then the second derivatives of the scores are zero everywhere but on the edges of the pieces, where there are none.
    Only operators that are known to be so count: of any other, or of a product of two values that both depend on the
    layer, the answer is no.
    """
    order = topological(scores.grad_fn)
    with with_gradient():  # a caller in inference mode has tensors without an edge
        start = get_gradient_edge(leaf).node
    if start not in order:
        return False
    depends = {start}
    for node in reversed(order):
        paths = sum(child in depends for child, _ in node.next_functions)
        if not paths or node is start:
            continue
        if not _is_linear(node, paths):
            return False
        depends.add(node)
    return True


def _is_linear(node: Node, paths: int) -> bool:
    """Whether a node is linear in pieces, where so many of what goes in depend on the layer."""
    # Names of PyTorch's own end with a number; an autograd.Function of the user's, whatever it is called, has none.
    kind, _, number = node.name().rpartition("Backward")
    if not number.isdigit():
        return False
    if kind in _NORMALISATIONS:
        return paths == 1 and getattr(node, "_saved_training", True) is False
    if kind == "Div":  # by a number, or by what does not depend on the layer
        return paths == 1 and node.next_functions[-1][0] is None
    return kind in _OF_EACH.split() or (kind in _OF_ONE.split() and paths == 1)
