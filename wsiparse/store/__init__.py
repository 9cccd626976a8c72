"""objects.zarr, the source of truth: sorting, writing, reading, ids, measurements."""
