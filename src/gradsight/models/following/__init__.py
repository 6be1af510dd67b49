"""What functions of other people's do with a photo, found out by trying."""
