"""One results folder: its manifest, publishing, inputs of the report, run log, status, verification."""
