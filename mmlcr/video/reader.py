# Copyright (c) The mmlcr authors. All rights reserved.
"""The frames that a video shows, and when: one reader for every path.

Training, testing, streams and pictures all read through :class:`VideoReader`,
so that they agree on how many frames a video has, on their times and on every
pixel. PyAV (FFmpeg) decodes. Headers are not believed where packets say more:
an edit list hides frames that the header counts, a browser's recording has
neither a duration nor a rate, and the mean rate of a phone's clip is not the
rate of any part of it.
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
from av.error import ExitError, FFmpegError
from av.stream import Disposition

DEFAULT_RATE = Fraction(25)  # of raw streams, which tell neither time nor rate
# A video that ends so much before its header's duration was cut off;
# durations are rounded, and in some containers estimates.
DURATION_SLACK = 0.05
# how lists begin that name other files: HLS, DASH, concat, SDP
LISTS = b'#EXTM3U', b'<', b'ffconcat', b'v=0'
LONGEST_SAID = 300  # characters of what FFmpeg says

av.logging.set_level(av.logging.FATAL)  # what matters is raised, by name


class SourceError(RuntimeError):
    """A source does not open, has no frames or broke off; it is named."""


class TruncatedVideoError(SourceError):
    """A video that ends before its header says."""


class TimedImage(NamedTuple):
    """A frame as it is shown."""
    image: np.ndarray  # RGB, uint8, (height, width, 3)
    seconds: float  # from the first frame


class PacketIndex(NamedTuple):
    """What the packets tell of the frames, without decoding."""
    times: Optional[np.ndarray]  # seconds (frames, ); None: decode to know
    pts: List[int]  # of the frames, in order; empty where unknown
    keyframes: List[int]  # pts at which decoding may begin, in order


class VideoReader:
    """Frames of a video file, in order or by number, by PyAV.

    Frames are those that a player shows, in the order in which it shows them:
    without the ones that an edit list hides, turned as the file asks, all of
    the size of the first. Pixels are those of decord and OpenCV to the bit
    wherever these read a file of 8 bits a channel right.

    Args:
        video (str | BinaryIO): Path, address, or file object.
        name (str, optional): What errors call it. Defaults to ``video``.
        num_threads (int): Threads of the decoder; 0 lets FFmpeg choose.
            Defaults to 0.
        timeout (tuple[float, float], optional): Seconds that opening and
            reading may wait for an address. Defaults to None: for ever.

    Raises:
        SourceError: If it does not open, there is no video in it, or PyAV has
            no decoder for its codec.
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
        self._size: Optional[Tuple[int, int]] = None  # before it is turned
        self._first_pts: Optional[int] = None  # of the frames decoded last
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
        """Close the file; it is opened again when frames are asked for."""
        self._used = True
        self.container.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self.stream.codec_context.codec.name

    @property
    def rate(self) -> Fraction:
        """Frames a second by the header, or by its first packets."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return rate or DEFAULT_RATE

    @property
    def duration(self) -> float:
        """Seconds by the header, which may be wrong; 0 if it has none."""
        return self._length(self.stream) or (
            (self.container.duration or 0) / 1e6)

    @property
    def times(self) -> np.ndarray:
        """Seconds of each frame from the first one, ``(frames, )``.

        Raises:
            SourceError: If not one frame can be decoded.
        """
        if self._times is None:
            times = self.index.times
            if times is None:
                shown = [seconds for _, seconds in self._timed_frames()]
                times = np.array(shown)
            self._times = times
        return self._times

    def __len__(self) -> int:
        return len(self.times)

    @property
    def fps(self) -> float:
        """Mean frames a second, by the times of the frames."""
        duration = self.times[-1]
        return float((len(self) - 1) / duration if duration else self.rate)

    @property
    def size(self) -> Tuple[int, int]:
        """Width and height, as shown."""
        height, width = self.frames_at([0])[0].shape[:2]
        return width, height

    @property
    def index(self) -> PacketIndex:
        """What the packets tell; read once."""
        if self._index is None:
            self._index = self._read_index()
        return self._index

    def __iter__(self) -> Iterator[TimedImage]:
        """All frames in order.

        Raises:
            TruncatedVideoError: After the last frame, if the file ends before
                its header says.
            SourceError: If not one frame can be decoded.
        """
        end = 0.
        for frame, seconds in self._timed_frames():
            yield TimedImage(self._to_rgb(frame), seconds)
            end = seconds + max(1 / float(self.rate), self._length(frame))
        promised = self._length(self.stream) - self._missing_start()
        if end < (1 - DURATION_SLACK) * promised - 1 / float(self.rate):
            raise TruncatedVideoError(
                f'{self.name}: broke off after {end:.2f} of {promised:.2f} '
                'seconds')

    def frames_at(self, numbers: Sequence[int]) -> List[np.ndarray]:
        """Frames by number, which may repeat and come in any order.

        In a damaged video with fewer frames than packets, the nearest in time.

        Args:
            numbers (Sequence[int]): From 0 to ``len(self) - 1``.

        Returns:
            list[np.ndarray]: RGB, uint8, each ``(height, width, 3)``; no two
            share their memory.

        Raises:
            IndexError: If there is no frame of some number.
            SourceError: If not one frame can be decoded.
        """
        wanted = sorted({int(number) for number in numbers})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f'{self.name}: frames are numbered 0 to '
                             f'{len(self) - 1}, asked for {wanted}')
        if self.index.pts:
            found = self._decode_from_keyframes(wanted)
        else:
            found = self._decode_from_start(wanted)
        if len(found) < len(wanted):
            found = self._decode_nearest(wanted)
        repeats = Counter(int(number) for number in numbers)
        images = []
        for number in map(int, numbers):
            repeats[number] -= 1
            image = found[number]
            images.append(image.copy() if repeats[number] else image)
        return images

    def _open(self) -> None:
        """Open the file at its start.

        Raises:
            SourceError: As of the class.
        """
        if not isinstance(self.video, str):
            # FFmpeg keeps lists in files from opening addresses, and knows
            # nothing of files that are read for it
            self.video.seek(0)
            if self.video.read(64).lstrip().startswith(LISTS):
                raise SourceError(f'{self.name}: a list of addresses, not a '
                                  'video')
            self.video.seek(0)
        try:
            self.container = av.open(
                self.video, timeout=self.timeout, metadata_errors='ignore')
        except (FFmpegError, OSError, ValueError) as error:
            raise SourceError(f'{self.name}: not a video that can be opened: '
                             f'{_said(error)}') from error
        stream = self.container.streams.best('video')
        reason = _no_video(self.container, stream)
        if reason is not None:
            self.container.close()
            raise SourceError(f'{self.name}: {reason}')
        if self.num_threads:
            stream.codec_context.thread_count = self.num_threads
        self.stream, self._used = stream, False

    def _packets(self) -> Iterator[Any]:
        """Those of the file from its start; the last one flushes the decoder.

        A file that can't be read on ends there.
        """
        if self._used:
            self.container.close()
            self._open()
        self._used = True
        return self._packets_on()

    def _packets_on(self) -> Iterator[Any]:
        try:
            yield from self.container.demux(self.stream)
        except FFmpegError as error:
            last = av.Packet()  # an empty one flushes the decoder
            last.stream = self.stream
            yield last
            if self.timeout is not None:  # an address
                raise SourceError(f'{self.name}: {_said(error)}') from error

    def _decoded(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Frames in the order in which they are shown.

        Packets that can't be decoded are passed over, as players do.

        Raises:
            SourceError: If none can be decoded.
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
                f'{": " + _said(reason) if reason else ""} (codec '
                f'{self.codec}); {_way_out(self.name)}')

    def _timed_frames(self) -> Iterator[Tuple[Any, float]]:
        """Frames as decoded, and their seconds from the first one.

        By their number and the rate where the file has no times that are good
        for anything.
        """
        period, base = 1 / float(self.rate), self.stream.time_base
        self._first_pts = first = None
        seconds = -period
        for number, frame in enumerate(self._decoded(self._packets())):
            if frame.pts is None or self._is_untimed():
                seconds = number * period
            else:
                if first is None:
                    self._first_pts = first = frame.pts
                now = float((frame.pts - first) * base)
                # where times jump back, as in files that were joined
                seconds = now if now > seconds else seconds + period
            yield frame, seconds

    def _is_untimed(self) -> bool:
        """Whether packets have no times: AVI has the order of decoding."""
        context = self.stream.codec_context
        return self.container.format.name == 'avi' and context.has_b_frames

    def _read_index(self) -> PacketIndex:
        packets = [(p.pts, p.is_keyframe, p.is_discard, p.is_corrupt)
                   for p in self._packets() if p.size]
        pts = [at for at, _, is_hidden, _ in packets if not is_hidden]
        keyframes = [at for at, is_key, _, _ in packets if is_key]
        if (not pts or not packets[0][1] or None in pts or None in keyframes
                or any(is_corrupt for *_, is_corrupt in packets)):
            return PacketIndex(None, [], [])
        if self._is_untimed():
            times = np.arange(len(pts)) * (1 / float(self.rate))
            return PacketIndex(times, [], [])
        if (len(set(pts)) < len(pts) or keyframes != sorted(keyframes)
                or keyframes[0] > min(pts)):
            return PacketIndex(None, [], [])
        pts.sort()
        base = self.stream.time_base
        times = np.array([float((at - pts[0]) * base) for at in pts])
        return PacketIndex(times, pts, keyframes)

    def _decode_from_keyframes(self,
                               wanted: List[int]) -> Dict[int, np.ndarray]:
        """Seek to the keyframe before each; frames are known by their pts.

        Fewer are found where a keyframe is not where the index has it.
        """
        _, pts, keyframes = self.index
        found: Dict[int, np.ndarray] = {}
        packets = self._packets()
        for key, numbers in itertools.groupby(
                wanted, lambda n: bisect.bisect_right(keyframes, pts[n]) - 1):
            by_pts = {pts[number]: number for number in numbers}
            try:
                if key > 0:
                    self.container.seek(keyframes[key], stream=self.stream)
                    packets = self._packets_on()
                first = pts[bisect.bisect_left(pts, keyframes[key])]
                for frame in self._decoded_from(first, packets):
                    if frame.pts in by_pts:
                        found[by_pts[frame.pts]] = self._to_rgb(frame)
                    if frame.pts >= max(by_pts):
                        break
            except (FFmpegError, SourceError):  # no way to seek in it
                return found
        return found

    def _decoded_from(self, pts: int,
                      packets: Iterator[Any]) -> Iterator[Any]:
        """Frames from one on; none if the decoder comes in after it.

        Those before it may be of a group of pictures that began before.
        """
        frames = itertools.dropwhile(lambda frame: frame.pts < pts,
                                     self._decoded(packets))
        first = next(frames, None)
        if first is not None and first.pts == pts:
            yield first
            yield from frames

    def _decode_from_start(self, wanted: List[int]) -> Dict[int, np.ndarray]:
        """Frames are known by their number."""
        found = {}
        for number, (frame, _) in enumerate(self._timed_frames()):
            if number in wanted:
                found[number] = self._to_rgb(frame)
            if number == wanted[-1]:
                break
        return found

    def _decode_nearest(self, wanted: List[int]) -> Dict[int, np.ndarray]:
        """Those that are nearest in time, of the frames that there are."""
        shown = np.array([seconds for _, seconds in self._timed_frames()])
        if self.index.pts and self._first_pts is not None:  # it may be lost
            lost = (self._first_pts - self.index.pts[0])
            shown += float(lost * self.stream.time_base)
        nearest = {
            number: int(np.abs(shown - self.times[number]).argmin())
            for number in wanted
        }
        found = self._decode_from_start(sorted(nearest.values()))
        return {number: found[nearest[number]] for number in wanted}

    def _to_rgb(self, frame: Any) -> np.ndarray:
        """A decoded frame as an image, turned as the file asks."""
        turns = round(frame.rotation / 90) % 4
        if frame.interlaced_frame:
            frame = self._progressive(frame)
        self._size = self._size or (frame.width, frame.height)
        if (frame.width, frame.height) != self._size:
            frame = frame.reformat(*self._size, format='rgb24')
        image = frame.to_ndarray(format='rgb24')
        return np.ascontiguousarray(np.rot90(image, turns))

    def _progressive(self, frame: Any) -> Any:
        """The same picture; its fields would be converted one by one."""
        graph = av.filter.Graph()
        nodes = (graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self.stream.time_base), graph.add('setfield', 'prog'),
                 graph.add('buffersink'))
        for node, after in zip(nodes, nodes[1:]):
            node.link_to(after)
        graph.configure()
        graph.push(frame)
        return graph.pull()

    def _missing_start(self) -> float:
        """Seconds before the first frame that could be decoded."""
        start = self.stream.start_time
        if start is None or self._first_pts is None:
            return 0.
        return max(0., float(
            (self._first_pts - start) * self.stream.time_base))

    def _length(self, timed: Any) -> float:
        """Seconds that a frame or the stream takes; 0 where nobody knows."""
        return float((timed.duration or 0) * self.stream.time_base)


def _no_video(container: Any, stream: Any) -> Optional[str]:
    """Why a stream can't be decoded, if that is so."""
    if stream is None or stream.disposition & Disposition.attached_pic:
        audio = {s.codec_context.name for s in container.streams.audio}
        return 'no video in it' + (
            f', only audio ({", ".join(sorted(audio))})' if audio else '')
    if stream.codec_context is None:
        return 'PyAV has no decoder for its codec; ' + _way_out('CLIP')
    return None


def _way_out(clip: str) -> str:
    return ('a conversion may help, as by '
            f'"ffmpeg -i {clip} -c:v libx264 NEW.mp4"')


def _said(error: Exception) -> str:
    """What FFmpeg says, without its number and our path."""
    if isinstance(error, ExitError):
        return 'no answer within the time limit'
    text = getattr(error, 'strerror', None) or ' '.join(str(error).split())
    return text[:LONGEST_SAID]
