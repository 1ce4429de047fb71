"""Adapters: stores, drivers and the small ports."""
