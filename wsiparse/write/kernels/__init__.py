"""Compiled inner loops of measurements, ids and GeoJSON, a file a subject. Slow twins: `wsiparse.write.reference`."""
