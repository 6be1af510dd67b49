"""What explains the photos of a run: this process, or the workers of a cluster. One file each; see `engine.Engine`."""
