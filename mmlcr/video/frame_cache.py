# Copyright (c) The mmlcr authors. All rights reserved.
"""Decoded videos in memory, which the workers of a data loader share."""
import mmap
import multiprocessing
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

import numpy as np
from torch.utils.data import get_worker_info

from .reader import VideoReader

# states of a video
ABSENT, CLAIMED, PRESENT, REFUSED = range(4)
ENTRY = np.dtype([('state', np.int64), ('offset', np.int64),
                  ('shape', np.int64, 3), ('fps', np.float64)])
ALIGNMENT = 64  # bytes


class CachedVideo:
    """Frames of a video that has been decoded.

    It has what :class:`mmlcr.transforms.VideoInit` and
    :class:`mmlcr.transforms.VideoDecode` need of a :class:`VideoReader`.

    Args:
        name (str): Name in error messages.
        images (np.ndarray): RGB, uint8, ``(frames, height, width, 3)``.
        times (np.ndarray): Seconds of the frames, ``(frames, )``.
        fps (float): Mean frames per second.
    """

    def __init__(self, name: str, images: np.ndarray, times: np.ndarray,
                 fps: float) -> None:
        self.name, self.images = name, images
        self.times, self.fps = times, fps

    def __enter__(self) -> 'CachedVideo':
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __len__(self) -> int:
        return len(self.images)

    def frames_at(self, numbers: Sequence[int]) -> List[np.ndarray]:
        """As :meth:`VideoReader.frames_at`."""
        for number in numbers:
            if not 0 <= number < len(self):
                raise IndexError(f'{self.name}: frames are numbered 0 to '
                                 f'{len(self) - 1}, got {number}')
        return [self.images[number].copy() for number in numbers]


class FrameCache:
    """Decoded frames of the videos of a data set.

    The memory is reserved at once and filled while videos are read for the
    first time, by whichever process reads them. Processes that are forked
    from the one that made the cache share it; a copy in another process is
    empty, and workers of a data loader then divide the limit among them.
    A video that does not fit any more is decoded each time.

    Args:
        videos (int): Number of videos.
        limit (int): Bytes that all frames together may take.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(self, videos: int, limit: int) -> None:
        if videos < 1 or limit < 1:
            raise ValueError('videos and limit must be positive, got '
                             f'{videos} and {limit}')
        self.videos, self.limit = videos, limit
        self._store: Optional[_Store] = _Store.reserve(videos, limit)

    def __getstate__(self) -> dict:
        return dict(self.__dict__, _store=None)

    @property
    def store(self) -> '_Store':
        """The memory, reserved anew in a process that was not forked."""
        if self._store is None:
            worker = get_worker_info()
            share = self.limit // (worker.num_workers if worker else 1)
            self._store = _Store.reserve(self.videos, max(1, share))
        return self._store

    @property
    def present(self) -> int:
        """Number of videos whose frames are in memory."""
        return int((self.store.entries['state'] == PRESENT).sum())

    def open(self, index: int, name: str,
             opener: Callable[[], VideoReader]) -> Any:
        """Return a video from memory, or from its file.

        Args:
            index (int): Number of the video.
            name (str): Name in error messages.
            opener (Callable[[], VideoReader]): Opens the file.

        Returns:
            CachedVideo | VideoReader: The video.

        Raises:
            SourceError: If the file does not open, or no frame can be decoded.
        """
        store = self.store
        entry = store.entries[index]
        if not store.claim(entry):
            if entry['state'] == PRESENT:
                return store.video(entry, name)
            return opener()
        reader = None
        try:
            reader = opener()
            width, height = reader.size
            if not store.allocate(entry, (len(reader), height, width)):
                return reader
            video = store.video(entry, name)
            with reader:
                for number, image in enumerate(
                        reader.frames_at(range(len(reader)))):
                    video.images[number] = image
            video.times[:] = reader.times
            video.fps = entry['fps'] = reader.fps
            store.finish(entry, PRESENT)
            return video
        finally:  # after an error the video may be tried again
            if entry['state'] == CLAIMED:
                store.finish(entry, ABSENT)


class _Store(NamedTuple):
    """Memory of a cache, and what is in it."""
    pixels: np.ndarray  # uint8
    entries: np.ndarray  # ENTRY, of each video
    used: np.ndarray  # bytes of pixels, int64, (1, )
    lock: Any

    @classmethod
    def reserve(cls, videos: int, limit: int) -> '_Store':
        """Reserve memory that forked processes share."""
        entries = np.frombuffer(
            mmap.mmap(-1, videos * ENTRY.itemsize), ENTRY)
        return cls(
            np.frombuffer(mmap.mmap(-1, limit), np.uint8), entries,
            np.frombuffer(mmap.mmap(-1, 8), np.int64),
            multiprocessing.Lock())

    def claim(self, entry: np.void) -> bool:
        """Take on to decode a video, unless another process does or has."""
        with self.lock:
            is_absent = entry['state'] == ABSENT
            if is_absent:
                entry['state'] = CLAIMED
        return bool(is_absent)

    def allocate(self, entry: np.void, shape: Sequence[int]) -> bool:
        """Allocate memory for frames and their times, if it is there.

        A video whose decoding has failed before has some already.
        """
        if entry['shape'].any():
            return True
        frames, height, width = shape
        needed = frames * (height * width * 3 + np.float64().itemsize)
        needed += -needed % ALIGNMENT
        with self.lock:
            offset = int(self.used[0])
            fits = offset + needed <= len(self.pixels)
            if fits:
                self.used[0] = offset + needed
                entry['offset'], entry['shape'] = offset, shape
            else:
                entry['state'] = REFUSED
        return fits

    def finish(self, entry: np.void, state: int) -> None:
        """Set the state of a video, after its frames."""
        with self.lock:
            entry['state'] = state

    def video(self, entry: np.void, name: str) -> CachedVideo:
        """Return the frames of a video that is allocated."""
        frames, height, width = (int(size) for size in entry['shape'])
        start = int(entry['offset'])
        middle = start + frames * np.float64().itemsize
        end = middle + frames * height * width * 3
        return CachedVideo(
            name, self.pixels[middle:end].reshape(frames, height, width, 3),
            self.pixels[start:middle].view(np.float64), float(entry['fps']))
