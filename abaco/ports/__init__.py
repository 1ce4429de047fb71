"""Contracts of everything outside the core."""
