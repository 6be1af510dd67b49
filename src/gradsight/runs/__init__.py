"""Runs: from a folder to a million images, kept in a store that any tool opens."""
