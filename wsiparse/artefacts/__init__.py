"""What cannot be counted on: out of focus, folds, ink, bubbles, dust. Pure; from pixels to masks to polygons."""
