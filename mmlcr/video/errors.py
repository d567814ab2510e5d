# Copyright (c) The mmlcr authors. All rights reserved.
"""Errors of video files, with FFmpeg's messages."""
from av.error import ExitError

MAX_MESSAGE = 300  # characters of FFmpeg's message in an error


class SourceError(RuntimeError):
    """A source does not open, has no frames or ends early; names it."""


class TruncatedVideoError(SourceError):
    """A video that ends before its header's duration."""


def ffmpeg_message(error: Exception) -> str:
    """Return FFmpeg's message of an error, without its number and path."""
    if isinstance(error, ExitError):
        return 'no answer within the time limit'
    text = getattr(error, 'strerror', None) or ' '.join(str(error).split())
    return text[:MAX_MESSAGE]


def conversion_hint(path: str) -> str:
    """Suggest a conversion, for the end of an error message."""
    return ('a conversion may help, as by '
            f'"ffmpeg -i {path} -c:v libx264 NEW.mp4"')
