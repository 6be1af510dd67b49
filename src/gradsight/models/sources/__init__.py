"""Where models come from: one module or package for a scheme or a file format; none loads a framework when imported."""
