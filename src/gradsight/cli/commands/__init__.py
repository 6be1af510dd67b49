"""The commands: each parses, makes one call of the library, prints, and ends with its status."""
