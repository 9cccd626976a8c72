"""Objects from pixels: split touching cells, trace outlines, measure."""

from wsiparse.objects.split import SplitPixels, split_cells, split_pixels
from wsiparse.objects.table import build_table
from wsiparse.objects.trace import trace_labels

__all__ = ["SplitPixels", "build_table", "split_cells", "split_pixels", "trace_labels"]
