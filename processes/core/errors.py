"""Named faults. Raised where known; turned into statuses in `server/errors.py` and nowhere else.

A message names the fault and the remedy, and is safe to show: no path of the server, no traceback.
"""


class OrographError(Exception):
    """The root of every fault that is the request's and can be explained to its sender."""


class InvalidInput(OrographError):
    """An input does not fit its schema."""


class AssetMissing(OrographError):
    """A referenced file or URL is not there."""


class AssetForbidden(OrographError):
    """A reference points where this server may not go."""


class AssetUnreadable(OrographError):
    """A file is there but is not what it claims to be: truncated, enormous, of another format."""


class EmptyItem(OrographError):
    """A STAC Item has no image asset."""


class TooFewImages(OrographError):
    """Stereo needs at least two images."""


class NoRpc(OrographError):
    """An image carries no sensor model."""


class BrokenRpc(OrographError):
    """A sensor model is incomplete, not finite or not invertible."""


class NoOverlap(OrographError):
    """Images share no ground."""


class NoTexture(OrographError):
    """Images hold nothing to match: constant, or all nodata."""


class OutsideArea(OrographError):
    """The area of interest lies outside the images, or footprints outside the heights."""


class UnknownCrs(OrographError):
    """A coordinate reference system that PROJ does not know, or that is not metric."""


class GridMismatch(OrographError):
    """Two rasters that belong together do not share a grid."""


class NoGround(OrographError):
    """A surface model shows no ground to make a terrain model from."""


class NothingToCompare(OrographError):
    """A product and its reference share no place, or one of them is empty."""


class Cancelled(OrographError):
    """Somebody dismissed the job while it ran."""
