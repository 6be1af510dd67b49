"""What the maps of many photos say about a model: where it looks, and which shortcuts it takes.

Suspects come from maps; whether they are shortcuts is tested: the region is removed, and put into other photos.
"""
