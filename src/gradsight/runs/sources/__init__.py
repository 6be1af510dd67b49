"""Where the photos of a run come from: one file for each kind of source."""
