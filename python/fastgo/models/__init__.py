"""The architectures: one ModelConfig, one module each that reads like the paper."""
