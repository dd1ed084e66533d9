"""One file an operation: a builder that adds a node, its lowering to kernels of that name, its float64 reference."""
