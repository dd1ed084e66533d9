"""Finds in a shader what Metal's own compiler would reject: what msl_lint.py is made of."""
