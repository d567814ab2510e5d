# Copyright (c) The mmlcr authors. All rights reserved.
"""Files that are never there in part."""
import contextlib
import os
import os.path as osp
from typing import Any


def write_whole(data: bytes, path: Any) -> None:
    """Write a file so that whoever opens it finds all of it.

    Whenever the process, or the machine, is stopped: what was there before
    stays until all is on the disk.

    Args:
        data (bytes): All of the file.
        path (str | PathLike): Its folder is made.

    Raises:
        OSError: If it can't be written, as on a full disk.
    """
    path = os.fspath(path)
    folder, part = osp.dirname(osp.abspath(path)), f'{path}.part'
    os.makedirs(folder, exist_ok=True)
    try:
        with open(part, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(part)
        reason = f'{error.strerror}: what was there before is whole'
        raise OSError(error.errno, reason, path) from error
    if os.name == 'posix':  # the name, too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
