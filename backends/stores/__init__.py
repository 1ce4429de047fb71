"""Stores, one module per backend."""
