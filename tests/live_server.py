# Copyright (c) The mmlcr authors. All rights reserved.
"""A server on this machine, of streams that end, break or never do."""
import http.server
import threading
import time
from pathlib import Path
from typing import Any, List

import cv2
import numpy as np

RATE = 25  # frames a second


class LiveServer:
    """Serves the files of a folder, and MJPEG streams of some frames.

    ``/endless`` goes on for ever; ``/brief`` ends after its frames; after
    them, ``/stalled`` says nothing more, and ``/next`` has the next frame at
    each visit. A file below ``/unsized`` comes without its length.
    """

    def __init__(self, folder: Path, frames: np.ndarray) -> None:
        self.folder, self.visits, self.closing = folder, 0, threading.Event()
        self.jpegs: List[bytes] = [
            cv2.imencode('.jpg', np.ascontiguousarray(frame[..., ::-1]))[1]
            .tobytes() for frame in frames
        ]
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):

            def do_GET(self) -> None:
                owner.visits += 1
                try:
                    owner.answer(self, self.path)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                      Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def address(self, path: object) -> str:
        """Of a stream or file."""
        return f'http://127.0.0.1:{self.server.server_port}/{path}'

    def close(self) -> None:
        """End all connections."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, handler: Any, path: str) -> None:
        handler.send_response(200)
        name = Path(path).name
        if name in ('endless', 'brief', 'stalled', 'next'):
            handler.send_header('Content-Type',
                                'multipart/x-mixed-replace; boundary=frame')
            handler.end_headers()
            self.send_frames(handler.wfile, name)
            return
        data = (self.folder / name).read_bytes()
        if not path.startswith('/unsized'):
            handler.send_header('Content-Length', str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def send_frames(self, out: Any, name: str) -> None:
        start, number = time.monotonic(), 0
        first = self.visits if name == 'next' else 0
        while name == 'endless' or number < len(self.jpegs):
            jpeg = self.jpegs[(first + number) % len(self.jpegs)]
            out.write(b'--frame\r\nContent-Type: image/jpeg\r\n'
                      b'Content-Length: %d\r\n\r\n' % len(jpeg))
            out.write(jpeg + b'\r\n')
            out.flush()
            number += 1
            ahead = start + number / RATE - time.monotonic()
            if self.closing.wait(max(0, ahead)):
                return
        if name == 'stalled':
            self.closing.wait(60)
