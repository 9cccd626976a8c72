"""Results in napari: a reader that napari finds by itself (npe2). Nothing here imports napari."""
