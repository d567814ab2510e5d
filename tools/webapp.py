# Copyright (c) The mmlcr authors. All rights reserved.
"""A page that recognizes the actions in a clip or before a camera."""
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

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.arguments import add_stream_arguments, positive
from mmlcr.cli.launch import ending_with_errors
from mmlcr.cli.models import build_recognizer
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

try:
    import gradio as gr
except ImportError as error:
    sys.exit(f"{error}: pip install 'mmlcr[web]'")

# How files begin that may be opened: no playlists, which name other files.
CONTAINERS = {
    'MP4, MOV': (4, b'ftyp'),
    'AVI': (0, b'RIFF'),
    'MKV, WebM': (0, b'\x1a\x45\xdf\xa3'),
    'MPEG': (0, b'\x00\x00\x01'),
}
MAX_PIXELS = 3840 * 2160
CURVES = 5  # classes in the plot
PLOT_PERIOD = 0.4  # seconds between two drawings of it
LATE = 0.05  # seconds after which a frame is taken, and not shown
UNSHOWN = 0.25  # seconds after which one is shown, however late
CAMERA_SECONDS = 20  # in the plot
CAMERA_LIMIT = 600  # seconds after which a camera is to be started again
SESSIONS = 50  # that are remembered, and as many wait at most
SESSION_SECONDS = 3600  # what nobody asks for any more is forgotten
TITLES = 'what the model reads', 'its edge map', 'where it forgets'
CSS = """
.maps { display: flex; gap: 12px; flex-wrap: wrap; }
.maps figure { margin: 0; flex: 1 1 160px; max-width: 280px; }
.maps img { width: 100%; image-rendering: pixelated; border-radius: 4px; }
.maps figcaption { font-size: 0.85em; opacity: 0.8; margin-top: 2px; }
"""


class Moment(NamedTuple):
    """What the page shows of a frame."""
    scores: Dict[str, float]
    maps: str  # HTML
    said: str


class Progress:
    """What the page shows of a stream.

    Args:
        names (tuple[str, ...]): Of all classes.
        seconds (float, optional): How far back the plot reaches. Defaults to
            None: to the start.
        several (bool): Whether classes are independent. Defaults to False.
    """

    def __init__(self,
                 names: tuple,
                 seconds: Optional[float] = None,
                 several: bool = False) -> None:
        self.names, self.seconds = names, seconds
        self.seen = RetentionRange()
        self.times: Deque[float] = deque()
        self.scores: Deque[np.ndarray] = deque()
        self.plotted = -PLOT_PERIOD
        self.segmenter = Segmenter(names, multi_label=several)
        self.segments: List[Segment] = []

    def see(self, result: StreamResult) -> Moment:
        """One more frame."""
        assert result.seconds is not None and result.maps is not None
        self.times.append(result.seconds)
        self.scores.append(result.all_scores)
        self.segments += self.segmenter.update(result.seconds,
                                               result.all_scores)
        while self.seconds and self.times[-1] - self.times[0] > self.seconds:
            self.times.popleft()
            self.scores.popleft()
        said = f'frame {result.frame}, {result.seconds:.2f} s'
        if not result.is_full:
            said += ', few frames seen yet'
        pictures = draw_maps(result.maps, self.seen)
        titles = list(TITLES)
        titles[2] += (f' (keeps {self.seen.low:.2f} where it is hottest, '
                      f'{self.seen.high:.2f} where grey)')
        figures = (
            f'<figure><img src="{data_address(picture)}" alt="{title}">'
            f'<figcaption>{title}</figcaption></figure>'
            for title, picture in zip(titles, pictures))
        return Moment(
            dict(zip(result.labels, result.scores)),
            f'<div class="maps">{"".join(figures)}</div>', said)

    def end(self) -> List[Segment]:
        """Segments of the whole stream."""
        self.segments += self.segmenter.close()
        return self.segments

    def curves(self) -> Figure:
        """Scores over time of the highest classes, and what happened when."""
        first = self.times[0]
        return plot_timeline(self.times, self.scores, self.names, CURVES,
                             [s for s in self.segments if s.start >= first])

    def curves_if_due(self) -> Any:
        """They take longer than a frame, and are not drawn at each."""
        if self.times[-1] - self.plotted < PLOT_PERIOD:
            return gr.skip()
        self.plotted = self.times[-1]
        return self.curves()

    def rate(self) -> float:
        """Frames a second that were taken."""
        if len(self.times) < 2:
            return 0.
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])


class CameraStream(NamedTuple):
    """A camera in somebody's browser."""
    recognizer: StreamRecognizer
    progress: Progress
    frame_filter: FrameRateFilter
    start: float


class Page:
    """The page, and what its controls do.

    Args:
        recognizer (StreamRecognizer): With maps.
        title (str): Of the model.
        max_seconds (float): Of a clip.
    """

    def __init__(self, recognizer: StreamRecognizer, title: str,
                 max_seconds: float) -> None:
        self.recognizer, self.title = recognizer, title
        self.max_seconds = max_seconds
        # one thread, so that what it keeps for the kernels is there once
        self.worker = ThreadPoolExecutor(1)
        self.warm_up()

    def warm_up(self) -> None:
        """What is slow the first time is done before anybody waits."""
        stream = self.recognizer.new_stream()
        progress = self._progress()
        frame = np.zeros((240, 320, 3), np.uint8)
        progress.see(self.worker.submit(stream.step, frame, 0.).result())
        progress.end()
        progress.curves().savefig(os.devnull, format='png')

    def of_clip(self, path: Optional[str]) -> Iterator[tuple]:
        """What is shown of each frame of a clip, at its rate."""
        if path is None:
            raise gr.Error('choose a clip first', print_exception=False)
        name = osp.basename(path)
        try:
            yield from self._of_video(path)
        except (SourceError, ValueError) as error:
            said = str(error).replace(path, name)
            raise gr.Error(said, print_exception=False) from error

    def _of_video(self, path: str) -> Iterator[tuple]:
        check_container(path)
        with contextlib.closing(SubprocessVideo(path)) as video:
            yield from self._of_frames(video)

    def _of_frames(self, video: SubprocessVideo) -> Iterator[tuple]:
        path = video.name
        if video.width * video.height > MAX_PIXELS:
            raise ValueError(f'{path}: frames of {video.width}x{video.height},'
                             ' larger than any that are taken')
        if video.duration > self.max_seconds:
            raise ValueError(f'{path}: {video.duration:.0f} seconds, at most '
                             f'{self.max_seconds:g} are taken')
        stream = self.recognizer.new_stream()
        progress, moments = self._progress(), []
        results = stream.stream(video)
        start = shown = time.monotonic()
        while True:
            result = self.worker.submit(next, results, None).result()
            if result is None:
                break
            if result.seconds > self.max_seconds:
                raise ValueError(f'{path}: only {self.max_seconds:g} seconds '
                                 'are taken')
            moments.append(progress.see(result))
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

    def at(self, moments: Optional[List[Moment]], index: int) -> Moment:
        """What was shown of a frame before."""
        if not moments:
            raise gr.Error('forgotten meanwhile', print_exception=False)
        return moments[min(int(index), len(moments) - 1)]

    def of_camera(self, image: Optional[np.ndarray],
                  known: Optional[CameraStream]) -> tuple:
        """What is shown of a frame of a camera."""
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
        moment = known.progress.see(result)
        said = f'{moment.said}, {known.progress.rate():.1f} frames a second'
        return (*moment._replace(said=said), known.progress.curves_if_due(),
                known)

    def blocks(self) -> gr.Blocks:
        """The page itself."""
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
                    said = gr.Markdown(elem_id='said')
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
            shown = [scores, maps, said]
            hidden: Dict[str, Any] = dict(
                show_progress='hidden', api_visibility='private')
            running = gr.on(
                [clip.upload, again.click],
                self.of_clip,
                clip, [*shown, plot, table, moments, back],
                trigger_mode='always_last',
                **hidden)
            stop.click(None, cancels=[running])
            back.input(self.at, [moments, back], shown, **hidden)
            camera.stream(
                self.of_camera, [camera, known], [*shown, plot, known],
                stream_every=max(0.05, 1 / (stream.fps or 25)),
                time_limit=CAMERA_LIMIT,
                **hidden)
            afresh.click(lambda: None, None, known, **hidden)
        return blocks


def check_container(path: str) -> None:
    """Refuse what is no video file that may be opened.

    Raises:
        ValueError: If it does not begin as one.
    """
    with open(path, 'rb') as file:
        begin = file.read(12)
    if not any(begin[at:].startswith(mark)
               for at, mark in CONTAINERS.values()):
        raise ValueError(f'{path}: none of {", ".join(CONTAINERS)}')


def data_address(picture: np.ndarray) -> str:
    """A picture, RGB, as an address that holds it."""
    data = cv2.imencode('.png', picture[..., ::-1])[1]
    return 'data:image/png;base64,' + base64.b64encode(data).decode()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Serve a page that recognizes the actions in a clip or '
        'before a camera, frame by frame, with the edge maps, the forget gate '
        'and the scores over time.')
    add_stream_arguments(parser)
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; default: %(default)s, which other '
        'machines do not reach. Browsers give cameras to pages of this '
        'machine or over HTTPS alone')
    parser.add_argument('--port', type=positive(int), default=7860)
    parser.add_argument(
        '--max-size',
        type=positive(float),
        default=50,
        help='MiB that a clip may have; default: %(default)s')
    parser.add_argument(
        '--max-seconds',
        type=positive(float),
        default=60,
        help='that a clip may have; default: %(default)s')
    return parser.parse_args()


@ending_with_errors()
def main() -> None:
    args = parse_args()
    recognizer = build_recognizer(args, topk=CURVES, maps=True)
    page = Page(recognizer, osp.basename(args.config), args.max_seconds)
    fonts = dict(
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
        theme=gr.themes.Default(**fonts),
        css=CSS)


if __name__ == '__main__':
    main()
