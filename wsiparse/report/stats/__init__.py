"""The numbers of a report: pure functions of arrays."""
