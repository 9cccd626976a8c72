"""Who works, and how far the work is: threads of this process, Dask clusters, progress."""
