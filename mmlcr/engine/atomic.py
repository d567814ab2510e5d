# Copyright (c) The mmlcr authors. All rights reserved.
"""Files that are written completely or not at all."""
import contextlib
import os
import os.path as osp
from typing import Any


def atomic_write(data: bytes, path: Any) -> None:
    """Replace a file atomically.

    If the process or the machine stops at any time, the path holds either the
    previous file or all of the new one.

    Args:
        data (bytes): Content of the file.
        path (str | PathLike): Path of the file. Its folder is created.

    Raises:
        OSError: If the file can't be written, as on a full disk.
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
        reason = f'{error.strerror}: the previous file is unchanged'
        raise OSError(error.errno, reason, path) from error
    if os.name == 'posix':  # the entry in the folder must reach the disk, too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
