"""Agents: supervised, long-lived coroutines."""
