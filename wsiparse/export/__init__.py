"""Other programs' files, functions of objects.zarr."""
