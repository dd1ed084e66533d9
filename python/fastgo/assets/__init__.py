"""Model files: readers, the table of weight formats, the repository of imported models."""
