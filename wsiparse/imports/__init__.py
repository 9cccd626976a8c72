"""Edge in: objects that other programs found, from their files; what they become is in `wsiparse.run.imported`."""
