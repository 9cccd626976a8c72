"""The outgoing edge: tables become files, published atomically, the same bytes for the same objects.

parts           atomic publishing, checksums
tables          object tables checked once, sorted, cut into runs of rows
records         a table as one record of bytes
spool           finished objects in order of arrival, on disk, resumable
objects_zarr    the source of truth: sorted columns in Zarr, written (`objects_reader`: read back, checksums compared)
ids             UUIDv5 of an object
measure         area, perimeter, shape of an object
features        the text of GeoJSON features
geojson         polygons and centroids in QuPath's dialect, streamed in parts
labels          labels.ome.zarr: instance ids and class maps as OME-Zarr label images
ngff            their metadata, NGFF 0.5 and 0.4
raster          outlines back to pixels, band by band (`raster_kernels`: Numba)
publish         from the desk to the results folder
deflate         gzip whose bytes depend on the text alone
kernels         measurements and byte formatting (Numba), each with a slow twin in `reference`
manifest        where results lie and when they count as done
"""
