"""What carries channels: inside the process, and between processes and hosts."""
