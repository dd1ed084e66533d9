"""mslc: translates Metal Shading Language files for the drivers of softmetal. See docs/mslc.md."""
