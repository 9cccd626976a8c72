"""A user's own classes from labelled nuclei of finished results."""
