"""Sans-IO machines and policies."""
