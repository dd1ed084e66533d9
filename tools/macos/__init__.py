"""Type-checks and links the Metal half for arm64 macOS on any machine: what check_macos.py is made of."""
