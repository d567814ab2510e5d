# Copyright (c) The mmlcr authors. All rights reserved.
"""Errors of video files, and FFmpeg's messages in them."""
from av.error import ExitError

MAX_MESSAGE = 300  # characters of FFmpeg's message in an error


class SourceError(RuntimeError):
    """A source that does not open, has no frames or ends early, by name."""


class TruncatedVideoError(SourceError):
    """A video that ends before its header's duration."""


def ffmpeg_message(error: Exception) -> str:
    """The message of an error of FFmpeg, without its number and the path."""
    if isinstance(error, ExitError):
        return 'no answer within the time limit'
    text = getattr(error, 'strerror', None) or ' '.join(str(error).split())
    return text[:MAX_MESSAGE]


def conversion_hint(path: str) -> str:
    """The end of an error about a video that another codec may save."""
    return ('a conversion may help, as by '
            f'"ffmpeg -i {path} -c:v libx264 NEW.mp4"')
