"""Verifiers of bearer tokens."""
