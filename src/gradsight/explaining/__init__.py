"""From inputs, methods, layers and targets to explanations."""
