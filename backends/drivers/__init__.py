"""Container engine drivers, one module per engine."""
