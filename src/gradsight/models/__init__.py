"""Where models come from: one file a source. The registry imports every module here; none loads a framework then."""
