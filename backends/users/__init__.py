"""Providers of the users that containers run as."""
