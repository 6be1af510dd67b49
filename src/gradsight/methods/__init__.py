"""The methods, one file each. Each is a pure function ``(probe, ops) -> maps``, entered in the registry."""
