"""Components across blocks, in any order of arrival."""

from wsiparse.stitch.digest import BlockDigest
from wsiparse.stitch.stitcher import Stitcher

__all__ = ["BlockDigest", "Stitcher"]
