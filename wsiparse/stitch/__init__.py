"""Components across blocks, in any order of arrival."""

from wsiparse.stitch.block import BlockResult
from wsiparse.stitch.stitcher import Stitcher

__all__ = ["BlockResult", "Stitcher"]
