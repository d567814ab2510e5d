# Copyright (c) The mmlcr authors. All rights reserved.
"""Decode a video in a process that may crash: ``python frame_server.py PATH``.

It writes a line of JSON and the bytes of each frame to standard output, and
starts fast: nothing of the package is imported but the reader beside it.
"""
import json
import sys
from typing import Any

from reader import SourceError, VideoReader  # from this file's own folder


def serve(path: str) -> None:
    """Write all of a video to standard output."""
    out = sys.stdout.buffer

    def say(**told: Any) -> None:
        out.write(json.dumps(told).encode() + b'\n')
        out.flush()

    try:
        with VideoReader(path) as reader:
            context = reader.stream.codec_context
            say(size=(context.height, context.width),
                duration=reader.duration,
                rate=float(reader.rate))
            for number, (image, seconds) in enumerate(reader):
                say(shape=image.shape, number=number, seconds=seconds)
                out.write(image.tobytes())
                out.flush()
        say(end=True)
    except SourceError as error:
        say(error=str(error))


if __name__ == '__main__':
    serve(sys.argv[1])
