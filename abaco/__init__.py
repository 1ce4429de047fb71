"""Abaco: containers that answer messages."""

__version__ = "0.1.0"
