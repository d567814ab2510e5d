# Copyright (c) The mmlcr authors. All rights reserved.
"""Index of a video's frames from its packets, without decoding."""
from fractions import Fraction
from typing import Any, Iterable, List, NamedTuple, Optional

import numpy as np
from av.stream import Disposition

from .errors import conversion_hint


class PacketIndex(NamedTuple):
    """Times and keyframes of a video, as far as its packets have them."""
    times: Optional[np.ndarray]  # seconds (frames, ); None: decoding needed
    pts: List[int]  # of the frames, ascending; empty if unknown
    keyframes: List[int]  # pts at which decoding may begin, ascending


def read_index(packets: Iterable[Any], time_base: Fraction, rate: Fraction,
               has_times: bool) -> PacketIndex:
    """Read the index from all packets of a stream.

    Args:
        packets (Iterable[av.Packet]): Packets in the order of the file.
        time_base (Fraction): Unit of their pts in seconds.
        rate (Fraction): Frames per second, for packets without times.
        has_times (bool): Whether the container stores presentation times.

    Returns:
        PacketIndex: The index; without times if the packets contradict each
        other or one of them is corrupt.
    """
    entries = [(p.pts, p.is_keyframe, p.is_discard, p.is_corrupt)
               for p in packets if p.size]
    pts = [at for at, _, is_hidden, _ in entries if not is_hidden]
    keyframes = [at for at, is_key, _, _ in entries if is_key]
    if (not pts or not entries[0][1] or None in pts or None in keyframes
            or any(is_corrupt for *_, is_corrupt in entries)):
        return PacketIndex(None, [], [])
    if not has_times:
        return PacketIndex(np.arange(len(pts)) * (1 / float(rate)), [], [])
    if (len(set(pts)) < len(pts) or keyframes != sorted(keyframes)
            or keyframes[0] > min(pts)):
        return PacketIndex(None, [], [])
    pts.sort()
    times = np.array([float((at - pts[0]) * time_base) for at in pts])
    return PacketIndex(times, pts, keyframes)


def stores_times(container: Any, stream: Any) -> bool:
    """Whether packets have presentation times.

    An AVI has its packets in decoding order, which differs from that of
    presentation if there are B-frames.
    """
    has_b_frames = stream.codec_context.has_b_frames
    return container.format.name != 'avi' or not has_b_frames


def why_undecodable(container: Any, stream: Any) -> Optional[str]:
    """Return why a video stream can't be decoded; None if it can."""
    if stream is None or stream.disposition & Disposition.attached_pic:
        audio = {s.codec_context.name for s in container.streams.audio}
        return 'no video stream' + (
            f', only audio ({", ".join(sorted(audio))})' if audio else '')
    if stream.codec_context is None:
        return 'PyAV has no decoder for its codec; ' + conversion_hint('CLIP')
    return None
