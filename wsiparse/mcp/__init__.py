"""Finished results for programs that speak the Model Context Protocol: local, over stdin and stdout, read-only."""
