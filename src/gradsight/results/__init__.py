"""What comes back, drawn, kept and told."""
