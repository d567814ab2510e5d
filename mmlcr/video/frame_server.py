# Copyright (c) The mmlcr authors. All rights reserved.
"""Decode a video in a process that may crash: ``python frame_server.py PATH``.

It writes a line of JSON and the bytes of each frame to standard output. It
imports only the folder of this file, so that it starts fast.
"""
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def load_video_package() -> Any:
    """Import the folder of this file as a package of its own."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        'video', folder / '__init__.py',
        submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules['video'] = package
    spec.loader.exec_module(package)
    return package


def serve(path: str) -> None:
    """Write all frames of a video to standard output."""
    video = load_video_package()
    out = sys.stdout.buffer

    def send(**message: Any) -> None:
        out.write(json.dumps(message).encode() + b'\n')
        out.flush()

    try:
        with video.VideoReader(path) as reader:
            context = reader.stream.codec_context
            send(
                size=(context.height, context.width),
                duration=reader.duration,
                rate=float(reader.rate))
            for number, (image, seconds) in enumerate(reader):
                send(shape=image.shape, number=number, seconds=seconds)
                out.write(image.tobytes())
                out.flush()
        send(end=True)
    except video.SourceError as error:
        send(error=str(error))


if __name__ == '__main__':
    serve(sys.argv[1])
