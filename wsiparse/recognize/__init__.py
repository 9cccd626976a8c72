"""Recognizers: tiles of pixels in, probabilities per prompt out. Start at `base`."""
