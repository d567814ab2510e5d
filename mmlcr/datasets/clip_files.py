# Copyright (c) The mmlcr authors. All rights reserved.
"""Checks of a clip's file that need no decoder."""
import os.path as osp

from .annotations import shorten
from .errors import ClipError

UNKNOWN_SIZES = 0, 2**32 - 1  # in an AVI whose writer could not seek back


def check_file(path: str, where: str, trusts_headers: bool = False) -> None:
    """Check that a clip exists, can be read and was not cut off.

    Args:
        path (str): Video, or folder of frames. Paths of a remote storage are
            not checked.
        where (str): Prefix of error messages.
        trusts_headers (bool): Whether a decoder of MMAction2 will read the
            clip. decord crashes on an AVI that was cut off or lacks its size,
            and OpenCV repeats its last frame. Defaults to False.

    Raises:
        ClipError: If the clip is missing, empty, unreadable, or such an AVI.
    """
    if is_remote(path):
        return
    if not osp.exists(path):
        raise ClipError(f'{where}: there is no {shorten(path)}')
    if osp.isdir(path):
        return
    if not osp.isfile(path):
        raise ClipError(f'{where}: {path} is neither a file nor a folder')
    size = osp.getsize(path)
    if not size:
        raise ClipError(f'{where}: {path} is empty')
    try:
        with open(path, 'rb') as file:
            head = file.read(8)
    except OSError as error:
        raise ClipError(f'{where}: {path}: {error.strerror}') from error
    if not trusts_headers or head[:4] != b'RIFF':
        return
    header_size = int.from_bytes(head[4:], 'little')
    if header_size in UNKNOWN_SIZES:
        raise ClipError(f'{where}: {path} is an AVI without its size in the '
                        'header, as one written to a pipe, and decord crashes '
                        'on it; VideoInit and VideoDecode read it, and '
                        '"ffmpeg -i OLD -c copy NEW" repairs it')
    if size < 8 + header_size:
        raise ClipError(f'{where}: {path} is cut off at {size} bytes')


def check_kind(path: str) -> None:
    """Refuse a pipe or device, which a decoder would read without end.

    Raises:
        ClipError: If the path exists and is neither a file nor a folder.
    """
    if osp.exists(path) and not osp.isfile(path) and not osp.isdir(path):
        raise ClipError('neither a file nor a folder')


def check_frame_count(clip: dict) -> None:
    """Refuse a video whose header claims more frames than it has bytes.

    OpenCV would try to read all of them.

    Args:
        clip (dict): The pipeline's ``results`` so far.

    Raises:
        ClipError: For such a video, before frames are sampled from it.
    """
    if 'filename' not in clip or 'frame_inds' in clip:
        return
    claimed, path = clip.get('total_frames', 0), clip['filename']
    if osp.isfile(path) and claimed > osp.getsize(path):
        raise ClipError(f'its header claims {claimed} frames, but the file '
                        f'has {osp.getsize(path)} bytes')


def is_remote(path: str) -> bool:
    """Whether a backend of MMEngine reads the path, such as ``s3://...``."""
    return '://' in path
