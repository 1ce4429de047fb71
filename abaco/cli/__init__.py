"""The command line: the server's commands, and a client that speaks HTTP to a server."""
