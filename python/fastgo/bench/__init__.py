"""Measuring a model on a device: prefill and decode, dependent stages, single kernels. Printing is the caller's job."""
