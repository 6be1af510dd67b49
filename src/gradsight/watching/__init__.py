"""Videos, cameras and folders of pictures: what a model looks at, frame by frame."""
