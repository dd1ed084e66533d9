"""A loaded model and its timelines: weights on a device, KV cache, prefill, decode, sampling."""
