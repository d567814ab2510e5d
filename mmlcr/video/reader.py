# Copyright (c) The mmlcr authors. All rights reserved.
"""The reader of all videos: frames as a player shows them, and their times.

Training, testing, streams and pictures all use :class:`VideoReader`, so they
agree on the number of frames, their times and every pixel. PyAV (FFmpeg)
decodes. The packets are trusted rather than the header: an edit list hides
frames that the header counts, a browser's recording has neither a duration nor
a rate, and the mean rate of a phone's clip is not the rate of any part of it.
"""
import bisect
import itertools
from collections import Counter
from fractions import Fraction
from typing import (
    Any,
    BinaryIO,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import av
import numpy as np
from av.error import FFmpegError

from .errors import (
    SourceError,
    TruncatedVideoError,
    conversion_hint,
    ffmpeg_message,
)
from .images import to_rgb
from .packets import PacketIndex, read_index, stores_times, why_undecodable

DEFAULT_RATE = Fraction(25)  # of raw streams, which have neither time nor rate
# A video that lacks more than this share of its header's duration was cut off.
# Durations are rounded, and some containers only have estimates.
DURATION_SLACK = 0.05
# first bytes of lists that refer to other files: HLS, DASH, concat, SDP
LIST_HEADS = b'#EXTM3U', b'<', b'ffconcat', b'v=0'

av.logging.set_level(av.logging.FATAL)  # errors are raised with a file's name


class TimedImage(NamedTuple):
    """A frame as it is shown."""
    image: np.ndarray  # RGB, uint8, (height, width, 3)
    seconds: float  # from the first frame


class VideoReader:
    """Frames of a video file, in order or by number, by PyAV.

    Frames are those that a player shows, in its order: without those that an
    edit list hides, rotated by the metadata, and all resized to the first.
    Pixels equal those of decord and OpenCV to the bit wherever these read a
    file of 8 bits per channel correctly.

    Args:
        video (str | BinaryIO): Path, address, or file object.
        name (str, optional): Name in error messages. Defaults to ``video``.
        num_threads (int): Threads of the decoder; 0 lets FFmpeg choose.
            Defaults to 0.
        timeout (tuple[float, float], optional): Seconds that opening an
            address and reading a frame may take. Defaults to None, which is
            no limit.

    Raises:
        SourceError: If the file does not open, has no video stream, or PyAV
            has no decoder for its codec.
    """

    def __init__(self,
                 video: Union[str, BinaryIO],
                 name: Optional[str] = None,
                 *,
                 num_threads: int = 0,
                 timeout: Optional[Tuple[float, float]] = None) -> None:
        self.video, self.num_threads = video, num_threads
        self.name = str(video) if name is None else name
        self.timeout = timeout
        self.container: Any = None
        self.stream: Any = None
        self._used = False
        self._open()
        self._size: Optional[Tuple[int, int]] = None  # before the rotation
        self._first_pts: Optional[int] = None  # in the last pass over frames
        self._index: Optional[PacketIndex] = None
        self._times: Optional[np.ndarray] = None

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:  # PyAV's own objects are in a cycle
        if self.container is not None:
            self.container.close()

    def close(self) -> None:
        """Close the file; reading frames opens it again."""
        self._used = True
        self.container.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self.stream.codec_context.codec.name

    @property
    def rate(self) -> Fraction:
        """Frames per second by the header, or by the first packets."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return rate or DEFAULT_RATE

    @property
    def duration(self) -> float:
        """Duration in seconds by the header, maybe wrong; 0 if unknown."""
        return self._length(self.stream) or (
            (self.container.duration or 0) / 1e6)

    @property
    def times(self) -> np.ndarray:
        """Time of each frame in seconds from the first, ``(frames, )``.

        Raises:
            SourceError: If no frame can be decoded.
        """
        if self._times is None:
            times = self.index.times
            if times is None:
                times = np.array(
                    [seconds for _, seconds in self._timed_frames()])
            self._times = times
        return self._times

    def __len__(self) -> int:
        return len(self.times)

    @property
    def fps(self) -> float:
        """Mean frames per second by the times of the frames."""
        duration = self.times[-1]
        return float((len(self) - 1) / duration if duration else self.rate)

    @property
    def size(self) -> Tuple[int, int]:
        """Width and height after the rotation."""
        height, width = self.frames_at([0])[0].shape[:2]
        return width, height

    @property
    def index(self) -> PacketIndex:
        """Times and keyframes from the packets, which are read once."""
        if self._index is None:
            self._index = read_index(
                self._packets(), self.stream.time_base, self.rate,
                stores_times(self.container, self.stream))
        return self._index

    def __iter__(self) -> Iterator[TimedImage]:
        """Iterate over all frames in order.

        Raises:
            TruncatedVideoError: After the last frame, if the file ends before
                its header's duration.
            SourceError: If no frame can be decoded.
        """
        end = 0.
        for frame, seconds in self._timed_frames():
            yield TimedImage(self._to_rgb(frame), seconds)
            end = seconds + max(1 / float(self.rate), self._length(frame))
        duration = self._length(self.stream) - self._missing_start()
        if end < (1 - DURATION_SLACK) * duration - 1 / float(self.rate):
            raise TruncatedVideoError(
                f'{self.name}: broke off after {end:.2f} of {duration:.2f} '
                'seconds')

    def frames_at(self, numbers: Sequence[int]) -> List[np.ndarray]:
        """Return frames by number, in any order and with repetitions.

        A damaged video may have fewer frames than packets. Then the nearest
        frame in time replaces a missing one.

        Args:
            numbers (Sequence[int]): From 0 to ``len(self) - 1``.

        Returns:
            list[np.ndarray]: RGB, uint8, each ``(height, width, 3)``; no two
            share memory.

        Raises:
            IndexError: If a number is out of range.
            SourceError: If no frame can be decoded.
        """
        unique = sorted({int(number) for number in numbers})
        if unique and not 0 <= unique[0] <= unique[-1] < len(self):
            raise IndexError(f'{self.name}: frames are numbered 0 to '
                             f'{len(self) - 1}, got {unique}')
        if self.index.pts:
            found = self._decode_from_keyframes(unique)
        else:
            found = self._decode_from_start(unique)
        if len(found) < len(unique):
            found = self._decode_nearest(unique)
        repeats = Counter(int(number) for number in numbers)
        images = []
        for number in map(int, numbers):
            repeats[number] -= 1
            image = found[number]
            images.append(image.copy() if repeats[number] else image)
        return images

    def _open(self) -> None:
        """Open the file at its start, with the errors of the class."""
        if not isinstance(self.video, str):
            # FFmpeg forbids lists in local files to open addresses, but does
            # not treat a file object as a local file
            self.video.seek(0)
            if self.video.read(64).lstrip().startswith(LIST_HEADS):
                raise SourceError(f'{self.name}: a list of addresses, not a '
                                  'video')
            self.video.seek(0)
        try:
            self.container = av.open(
                self.video, timeout=self.timeout, metadata_errors='ignore')
        except (FFmpegError, OSError, ValueError) as error:
            raise SourceError(f'{self.name}: not a video that can be opened: '
                             f'{ffmpeg_message(error)}') from error
        stream = self.container.streams.best('video')
        reason = why_undecodable(self.container, stream)
        if reason is not None:
            self.container.close()
            raise SourceError(f'{self.name}: {reason}')
        if self.num_threads:
            stream.codec_context.thread_count = self.num_threads
        self.stream, self._used = stream, False

    def _packets(self) -> Iterator[Any]:
        """Yield all packets from the start; the last flushes the decoder.

        They end where the file can't be read any further.
        """
        if self._used:
            self.container.close()
            self._open()
        self._used = True
        return self._further_packets()

    def _further_packets(self) -> Iterator[Any]:
        """Yield the packets from the present position on."""
        try:
            yield from self.container.demux(self.stream)
        except FFmpegError as error:
            last = av.Packet()  # an empty one flushes the decoder
            last.stream = self.stream
            yield last
            if self.timeout is not None:  # an address
                raise SourceError(
                    f'{self.name}: {ffmpeg_message(error)}') from error

    def _decoded(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Decode frames in presentation order.

        Packets that can't be decoded are skipped, as players do.

        Raises:
            SourceError: If no packet can be decoded.
        """
        reason: Optional[Exception] = None
        decoded = False
        for packet in packets:
            try:
                frames = packet.decode()
            except FFmpegError as error:
                reason = error
                continue
            for frame in frames:
                decoded = True
                yield frame
        if not decoded:
            raise SourceError(
                f'{self.name}: no frame of it can be decoded'
                f'{": " + ffmpeg_message(reason) if reason else ""} (codec '
                f'{self.codec}); {conversion_hint(self.name)}')

    def _timed_frames(self) -> Iterator[Tuple[Any, float]]:
        """Yield decoded frames, and their times in seconds from the first.

        If the file has no usable times, they are the number of the frame
        divided by the rate.
        """
        period, base = 1 / float(self.rate), self.stream.time_base
        has_times = stores_times(self.container, self.stream)
        self._first_pts = first = None
        seconds = -period
        for number, frame in enumerate(self._decoded(self._packets())):
            if frame.pts is None or not has_times:
                seconds = number * period
            else:
                if first is None:
                    self._first_pts = first = frame.pts
                now = float((frame.pts - first) * base)
                # times jump back in files that were concatenated
                seconds = now if now > seconds else seconds + period
            yield frame, seconds

    def _decode_from_keyframes(self,
                               numbers: List[int]) -> Dict[int, np.ndarray]:
        """Decode from the keyframe before each frame, identified by its pts.

        The result lacks frames if a keyframe is not where the index has it.
        """
        _, pts, keyframes = self.index
        found: Dict[int, np.ndarray] = {}
        packets = self._packets()
        for key, group in itertools.groupby(
                numbers, lambda n: bisect.bisect_right(keyframes, pts[n]) - 1):
            by_pts = {pts[number]: number for number in group}
            try:
                if key > 0:
                    self.container.seek(keyframes[key], stream=self.stream)
                    packets = self._further_packets()
                first = pts[bisect.bisect_left(pts, keyframes[key])]
                for frame in self._decoded_from(first, packets):
                    if frame.pts in by_pts:
                        found[by_pts[frame.pts]] = self._to_rgb(frame)
                    if frame.pts >= max(by_pts):
                        break
            except (FFmpegError, SourceError):  # the file is not seekable
                return found
        return found

    def _decoded_from(self, pts: int,
                      packets: Iterator[Any]) -> Iterator[Any]:
        """Yield the frames from a pts on; none if the decoder starts later.

        Earlier frames may belong to the previous group of pictures.
        """
        frames = itertools.dropwhile(lambda frame: frame.pts < pts,
                                     self._decoded(packets))
        first = next(frames, None)
        if first is not None and first.pts == pts:
            yield first
            yield from frames

    def _decode_from_start(self, numbers: List[int]) -> Dict[int, np.ndarray]:
        """Decode from the start and count the frames."""
        found = {}
        for number, (frame, _) in enumerate(self._timed_frames()):
            if number in numbers:
                found[number] = self._to_rgb(frame)
            if number == numbers[-1]:
                break
        return found

    def _decode_nearest(self, numbers: List[int]) -> Dict[int, np.ndarray]:
        """Decode the nearest frames in time that can be decoded."""
        times = np.array([seconds for _, seconds in self._timed_frames()])
        if self.index.pts and self._first_pts is not None:
            # the first frame may be missing
            offset = self._first_pts - self.index.pts[0]
            times += float(offset * self.stream.time_base)
        nearest = {
            number: int(np.abs(times - self.times[number]).argmin())
            for number in numbers
        }
        found = self._decode_from_start(sorted(nearest.values()))
        return {number: found[nearest[number]] for number in numbers}

    def _to_rgb(self, frame: Any) -> np.ndarray:
        """Convert a decoded frame to an image of the size of the first."""
        self._size = self._size or (frame.width, frame.height)
        return to_rgb(frame, self._size, self.stream.time_base)

    def _missing_start(self) -> float:
        """Return the seconds missing before the first decoded frame."""
        start = self.stream.start_time
        if start is None or self._first_pts is None:
            return 0.
        return max(0., float(
            (self._first_pts - start) * self.stream.time_base))

    def _length(self, item: Any) -> float:
        """Return the duration of a frame or stream in seconds, or 0."""
        return float((item.duration or 0) * self.stream.time_base)
