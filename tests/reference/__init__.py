"""Slow twins of compiled code, and equipment of tests and scripts: nothing here is shipped."""
