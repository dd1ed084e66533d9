"""Text in and out: tokenizers, chat templates and streaming.

This package owns the step from characters to token ids and back. It knows nothing of devices or weights.
"""
