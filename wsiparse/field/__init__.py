"""Tile probabilities -> one class field, kept as published parts and read back by any box."""
