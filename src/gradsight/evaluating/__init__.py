"""How far maps can be trusted: methods measured on many photos, with intervals and tests."""
