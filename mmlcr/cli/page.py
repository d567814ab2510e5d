# Copyright (c) The mmlcr authors. All rights reserved.
"""A web page that recognizes actions in a clip or in front of a camera."""
import argparse
import base64
import contextlib
import os
import os.path as osp
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Deque, Dict, Iterator, List, NamedTuple, Optional

import cv2
import numpy as np
from matplotlib.figure import Figure

from mmlcr.streaming import (
    Frame,
    FrameRateFilter,
    Segment,
    Segmenter,
    StreamRecognizer,
    StreamResult,
    SubprocessVideo,
    plot_timeline,
)
from mmlcr.video import SourceError
from mmlcr.visualization import RetentionRange, draw_maps
from .errors import exit_on
from .launch import CONFIG_ERRORS
from .models import build_recognizer

try:
    import gradio as gr
except ImportError as error:
    sys.exit(f"{error}: pip install 'mmlcr[web]'")

# Signatures of the containers that are opened; playlists, which refer to
# other files, are not among them.
CONTAINERS = {
    'MP4, MOV': (4, b'ftyp'),
    'AVI': (0, b'RIFF'),
    'MKV, WebM': (0, b'\x1a\x45\xdf\xa3'),
    'MPEG': (0, b'\x00\x00\x01'),
}
MAX_PIXELS = 3840 * 2160
CURVES = 5  # classes in the plot
PLOT_PERIOD = 0.4  # seconds between two updates of the plot
LATE = 0.05  # seconds of delay beyond which a frame is not shown
UNSHOWN = 0.25  # seconds after which a frame is shown despite a delay
CAMERA_SECONDS = 20  # time span of the plot
CAMERA_LIMIT = 600  # seconds after which a camera must be restarted
SESSIONS = 50  # sessions kept, and the length of the queue
SESSION_SECONDS = 3600  # life of unused results
TITLES = 'what the model reads', 'its edge map', 'where it forgets'
CSS = """
.maps { display: flex; gap: 12px; flex-wrap: wrap; }
.maps figure { margin: 0; flex: 1 1 160px; max-width: 280px; }
.maps img { width: 100%; image-rendering: pixelated; border-radius: 4px; }
.maps figcaption { font-size: 0.85em; opacity: 0.8; margin-top: 2px; }
"""


class Moment(NamedTuple):
    """What the page shows for a frame."""
    scores: Dict[str, float]
    maps: str  # HTML
    status: str


class Progress:
    """Collects what the page shows of a stream.

    Args:
        names (tuple[str, ...]): Names of all classes.
        seconds (float, optional): Time span of the plot. Defaults to None:
            the whole stream.
        several (bool): Whether classes are independent. Defaults to False.
    """

    def __init__(self,
                 names: tuple,
                 seconds: Optional[float] = None,
                 several: bool = False) -> None:
        self.names, self.seconds = names, seconds
        self.retention_range = RetentionRange()
        self.times: Deque[float] = deque()
        self.scores: Deque[np.ndarray] = deque()
        self.plotted = -PLOT_PERIOD
        self.segmenter = Segmenter(names, multi_label=several)
        self.segments: List[Segment] = []

    def update(self, result: StreamResult) -> Moment:
        """Add a frame."""
        assert result.seconds is not None and result.maps is not None
        self.times.append(result.seconds)
        self.scores.append(result.all_scores)
        self.segments += self.segmenter.update(result.seconds,
                                               result.all_scores)
        while self.seconds and self.times[-1] - self.times[0] > self.seconds:
            self.times.popleft()
            self.scores.popleft()
        status = f'frame {result.frame}, {result.seconds:.2f} s'
        if not result.is_full:
            status += ', few frames seen yet'
        pictures = draw_maps(result.maps, self.retention_range)
        titles = list(TITLES)
        low, high = self.retention_range.low, self.retention_range.high
        titles[2] += (f' (keeps {low:.2f} where it is hottest, {high:.2f} '
                      'where grey)')
        figures = (
            f'<figure><img src="{data_url(picture)}" alt="{title}">'
            f'<figcaption>{title}</figcaption></figure>'
            for title, picture in zip(titles, pictures))
        return Moment(
            dict(zip(result.labels, result.scores)),
            f'<div class="maps">{"".join(figures)}</div>', status)

    def end(self) -> List[Segment]:
        """Return the segments of the whole stream."""
        self.segments += self.segmenter.close()
        return self.segments

    def curves(self) -> Figure:
        """Plot the scores of the highest classes over time, with segments."""
        first = self.times[0]
        return plot_timeline(self.times, self.scores, self.names, CURVES,
                             [s for s in self.segments if s.start >= first])

    def curves_if_due(self) -> Any:
        """Plot at intervals, as a plot takes longer than a frame."""
        if self.times[-1] - self.plotted < PLOT_PERIOD:
            return gr.skip()
        self.plotted = self.times[-1]
        return self.curves()

    def rate(self) -> float:
        """Return the frames a second that the model saw."""
        if len(self.times) < 2:
            return 0.
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])


class CameraStream(NamedTuple):
    """The stream of a camera in a browser."""
    recognizer: StreamRecognizer
    progress: Progress
    frame_filter: FrameRateFilter
    start: float


class Page:
    """The page and the callbacks of its controls.

    Args:
        recognizer (StreamRecognizer): A stream with ``maps=True``.
        title (str): Name of the model.
        max_seconds (float): Length limit of a clip.
    """

    def __init__(self, recognizer: StreamRecognizer, title: str,
                 max_seconds: float) -> None:
        self.recognizer, self.title = recognizer, title
        self.max_seconds = max_seconds
        # a single thread, so that the workspace of the kernels exists once
        self.worker = ThreadPoolExecutor(1)
        self.warm_up()

    def warm_up(self) -> None:
        """Compile the kernels and load the fonts before a user waits."""
        stream = self.recognizer.new_stream()
        progress = self._progress()
        frame = np.zeros((240, 320, 3), np.uint8)
        progress.update(self.worker.submit(stream.step, frame, 0.).result())
        progress.end()
        progress.curves().savefig(os.devnull, format='png')

    def play_clip(self, path: Optional[str]) -> Iterator[tuple]:
        """Yield what is shown for each frame of a clip, at its rate."""
        if path is None:
            raise gr.Error('choose a clip first', print_exception=False)
        name = osp.basename(path)
        try:
            yield from self._play_video(path)
        except (SourceError, ValueError) as error:
            message = str(error).replace(path, name)
            raise gr.Error(message, print_exception=False) from error

    def _play_video(self, path: str) -> Iterator[tuple]:
        check_container(path)
        with contextlib.closing(SubprocessVideo(path)) as video:
            yield from self._play_frames(video)

    def _play_frames(self, video: SubprocessVideo) -> Iterator[tuple]:
        path = video.name
        if video.width * video.height > MAX_PIXELS:
            raise ValueError(f'{path}: frames of {video.width}x{video.height},'
                             ' larger than 3840x2160')
        if video.duration > self.max_seconds:
            raise ValueError(f'{path}: {video.duration:.0f} seconds, longer '
                             f'than the limit of {self.max_seconds:g}')
        stream = self.recognizer.new_stream()
        progress, moments = self._progress(), []
        results = stream.stream(video)
        start = shown = time.monotonic()
        while True:
            result = self.worker.submit(next, results, None).result()
            if result is None:
                break
            assert result.seconds is not None  # of a video
            if result.seconds > self.max_seconds:
                raise ValueError(f'{path}: longer than the limit of '
                                 f'{self.max_seconds:g} seconds')
            moments.append(progress.update(result))
            now = time.monotonic()
            ahead = start + result.seconds - now
            if ahead < -LATE and now - shown < UNSHOWN:
                continue
            time.sleep(max(0, ahead))
            shown = time.monotonic()
            yield (*moments[-1], progress.curves_if_due(), gr.skip(),
                   gr.skip(), gr.skip())
        last = len(moments) - 1
        rows = [[f'{s.start:.2f}', f'{s.end:.2f}', s.label, f'{s.score:.2f}']
                for s in sorted(progress.end())]
        yield (*moments[-1], progress.curves(),
               gr.Dataframe(rows, visible=bool(rows)), moments,
               gr.Slider(maximum=last, value=last, visible=last > 0))

    def _progress(self, seconds: Optional[float] = None) -> Progress:
        recognizer = self.recognizer
        return Progress(recognizer.classes, seconds, recognizer.multi_class)

    def look_back(self, moments: Optional[List[Moment]],
                  index: int) -> Moment:
        """Return what was shown for an earlier frame."""
        if not moments:
            raise gr.Error('the results have expired', print_exception=False)
        return moments[min(int(index), len(moments) - 1)]

    def show_camera(self, image: Optional[np.ndarray],
                    known: Optional[CameraStream]) -> tuple:
        """Return what is shown for a frame of a camera."""
        if image is None:
            return (*[gr.skip()] * 4, known)
        if known is None:
            stream = self.recognizer.new_stream()
            known = CameraStream(
                stream, self._progress(CAMERA_SECONDS),
                FrameRateFilter(stream.fps), time.monotonic())
        frame = Frame(image, 0, time.monotonic() - known.start)
        if not known.frame_filter.is_due(frame):
            return (*[gr.skip()] * 4, known)
        try:
            result = self.worker.submit(known.recognizer.step, image,
                                        frame.seconds).result()
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        moment = known.progress.update(result)
        rate = known.progress.rate()
        status = f'{moment.status}, {rate:.1f} frames a second'
        return (*moment._replace(status=status),
                known.progress.curves_if_due(), known)

    def blocks(self) -> gr.Blocks:
        """Build the page."""
        stream = self.recognizer
        rate = 'as many frames as there are'
        if stream.fps:
            rate = f'{stream.fps:.3g} frames a second'
        with gr.Blocks(
                title='mmlcr',
                analytics_enabled=False,
                delete_cache=(SESSION_SECONDS, SESSION_SECONDS)) as blocks:
            gr.Markdown(
                f'## Actions, frame by frame\n{self.title}: '
                f'{len(stream.classes)} classes, {rate}; trained on clips of '
                f'{stream.clip_len} frames, context {stream.context}')
            with gr.Row():
                with gr.Column(scale=1):
                    with gr.Tab('Clip'):
                        clip = gr.File(label='Clip', height=140)
                        gr.Markdown(
                            f'Up to {self.max_seconds:g} seconds; '
                            f'{", ".join(CONTAINERS)}')
                        with gr.Row():
                            again = gr.Button('Again', size='sm', min_width=80)
                            stop = gr.Button('Stop', size='sm', min_width=80)
                    with gr.Tab('Camera'):
                        camera = gr.Image(
                            sources=['webcam'],
                            streaming=True,
                            type='numpy',
                            label='Camera',
                            webcam_options=gr.WebcamOptions(mirror=False))
                        afresh = gr.Button('Forget what was seen', size='sm')
                    scores = gr.Label(
                        label='Scores',
                        num_top_classes=CURVES,
                        elem_id='scores')
                with gr.Column(scale=2):
                    maps = gr.HTML(
                        'Pictures and scores come here, frame by frame, of '
                        'a clip or of the camera.',
                        elem_id='maps',
                        min_height=240)
                    status = gr.Markdown(elem_id='status')
                    back = gr.Slider(
                        0,
                        1,
                        step=1,
                        label='Look back at frame',
                        visible=False)
                    plot = gr.Plot(show_label=False, format='png')
                    table = gr.Dataframe(
                        headers=['start', 'end', 'class', 'score'],
                        label='Segments, in seconds',
                        interactive=False,
                        visible=False,
                        elem_id='segments')
            moments = gr.State(time_to_live=SESSION_SECONDS)
            known = gr.State(time_to_live=SESSION_SECONDS)
            shown = [scores, maps, status]
            hidden: Dict[str, Any] = dict(
                show_progress='hidden', api_visibility='private')
            running = gr.on(
                [clip.upload, again.click],
                self.play_clip,
                clip, [*shown, plot, table, moments, back],
                trigger_mode='always_last',
                **hidden)
            stop.click(None, cancels=[running])
            back.input(self.look_back, [moments, back], shown, **hidden)
            camera.stream(
                self.show_camera, [camera, known], [*shown, plot, known],
                stream_every=max(0.05, 1 / (stream.fps or 25)),
                time_limit=CAMERA_LIMIT,
                **hidden)
            afresh.click(lambda: None, None, known, **hidden)
        return blocks


def check_container(path: str) -> None:
    """Check that a file is a video container by its first bytes.

    Raises:
        ValueError: If it is none of ``CONTAINERS``.
    """
    with open(path, 'rb') as file:
        begin = file.read(12)
    if not any(begin[at:].startswith(mark)
               for at, mark in CONTAINERS.values()):
        raise ValueError(f'{path}: none of {", ".join(CONTAINERS)}')


def data_url(picture: np.ndarray) -> str:
    """Encode an RGB picture as a ``data:`` URL."""
    data = cv2.imencode('.png', picture[..., ::-1])[1]
    return 'data:image/png;base64,' + base64.b64encode(data.tobytes()).decode()


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    recognizer = build_recognizer(args, topk=CURVES, maps=True)
    page = Page(recognizer, osp.basename(args.config), args.max_seconds)
    theme = gr.themes.Default(
        font=['system-ui', 'sans-serif'],
        font_mono=['ui-monospace', 'monospace'])
    print(f'http://{args.host}:{args.port}', flush=True)
    page.blocks().queue(max_size=SESSIONS).launch(
        server_name=args.host,
        server_port=args.port,
        max_file_size=round(args.max_size * 2**20),
        state_session_capacity=SESSIONS,
        share=False,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        quiet=True,
        theme=theme,
        css=CSS)
