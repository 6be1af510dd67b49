"""Models with all that is known of them, and how they are loaded."""
