"""Metrics, one file each: pure functions of a case, entered by ``@metric``."""
