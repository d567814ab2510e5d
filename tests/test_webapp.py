# Copyright (c) The mmlcr authors. All rights reserved.
"""The page: what its controls do, and all of it in a real browser."""
import contextlib
import importlib
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator, List

import cv2
import pytest
import torch
from mmengine.config import Config

from mmlcr.streaming import Segmenter, StreamRecognizer, segments_of

gr = pytest.importorskip('gradio')

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / 'configs/lcr_motion.py')
PATIENCE = 60_000  # milliseconds: two tests share two cores
CHROMIUM = 'chromium', 'chromium-browser', 'google-chrome'


@pytest.fixture(scope='module')
def webapp() -> ModuleType:
    return importlib.import_module('mmlcr.cli.page')


@pytest.fixture
def recognizer(redraw: Callable) -> StreamRecognizer:
    built = StreamRecognizer(CONFIG, maps=True)
    redraw(built.run_step.model)
    return built


@pytest.fixture
def page(webapp: ModuleType, recognizer: StreamRecognizer) -> Any:
    return webapp.Page(recognizer, 'motion', max_seconds=2.)


# ---- what the controls do


def test_a_clip_grows_frame_by_frame(page: Any, recognizer: StreamRecognizer,
                                     make_video: Callable,
                                     webapp: ModuleType) -> None:
    path = str(make_video(num_frames=26))
    *shown, (*last, plot, table, moments, back) = page.play_clip(path)
    expected = list(recognizer.new_stream().stream(path))
    assert len(moments) == len(expected) == 13
    for moment, result in zip(moments, expected):
        assert moment.scores == dict(zip(result.labels, result.scores))
        assert moment.maps.count('<img') == 3
        assert f'frame {result.frame}, ' in moment.status
        assert ('yet' in moment.status) == (not result.is_full)
    assert tuple(last) == moments[-1]
    assert len(shown) >= 4
    assert all(tuple(each[:3]) in moments for each in shown)
    assert plot.axes[0].get_lines()[0].get_xdata()[-1] == 0.96
    assert back.maximum == 12
    segments = segments_of([r.seconds for r in expected],
                           [r.all_scores for r in expected],
                           Segmenter(recognizer.classes))
    assert [row[2] for row in table.value['data']] == [
        segment.label for segment in sorted(segments)]
    assert table.visible == bool(segments)
    assert len(plot.axes[1].patches) == len(segments)
    assert page.look_back(moments, 3) is moments[3]
    with pytest.raises(gr.Error, match='expired'):
        page.look_back(None, 3)


def test_a_clip_takes_its_time(page: Any, make_video: Callable) -> None:
    """A second of video takes a second, however fast the model is."""
    start = time.monotonic()
    list(page.play_clip(str(make_video(num_frames=26))))
    assert time.monotonic() - start >= 24 / 25


def test_clips_that_are_not_taken(page: Any, make_video: Callable,
                                  tmp_path: Path, webapp: ModuleType,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is named, and the folder of the server is not."""
    files = dict(empty=b'', text=b'no video', broken=b'RIFF and no more',
                 list=b'#EXTM3U\n#EXTINF:1,\nhttp://localhost/secret.mp4\n')
    for name, data in files.items():
        (tmp_path / f'{name}.mp4').write_bytes(data)
    make_video('long.mp4', num_frames=60)
    for name, message in (('empty', 'none of'), ('text', 'none of'),
                          ('list', 'none of'), ('broken', 'be opened'),
                          ('long', '2 seconds, longer than the limit of 2')):
        with pytest.raises(gr.Error) as caught:
            next(page.play_clip(str(tmp_path / f'{name}.mp4')))
        assert caught.value.message.startswith(f'{name}.mp4: ')
        assert message in caught.value.message
    with pytest.raises(gr.Error, match='choose a clip'):
        next(page.play_clip(None))
    # a file that says it is shorter than it is
    monkeypatch.setattr(webapp, 'SubprocessVideo', Endless)
    with pytest.raises(gr.Error, match='longer than the limit of 2 seconds'):
        list(page.play_clip(str(tmp_path / 'long.mp4')))
    monkeypatch.setattr(webapp, 'MAX_PIXELS', 64 * 47)
    with pytest.raises(gr.Error, match='long.mp4: frames of 64x48'):
        next(page.play_clip(str(tmp_path / 'long.mp4')))


def Endless(path: str) -> Any:
    from mmlcr.streaming import SubprocessVideo
    video = SubprocessVideo(path)
    video.duration = 0.
    return video


def test_a_camera_keeps_the_rate_of_training(page: Any, webapp: ModuleType,
                                             make_frames: Callable,
                                             monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    """Frames at 25 a second; the model takes 12.5; afresh with no state."""
    clock = [100.]
    monkeypatch.setattr(webapp.time, 'monotonic', lambda: clock[0])
    frames, known, taken = make_frames(24), None, 0
    for frame in frames:
        *shown, known = page.show_camera(frame, known)
        taken += '__type__' not in shown[0]  # nothing new
        clock[0] += 0.04
    assert taken == 12
    assert page.show_camera(None, known)[-1] is known
    with pytest.raises(gr.Error, match='48x64'):
        clock[0] += 1
        page.show_camera(frames[0][:32], known)
    again = page.show_camera(frames[0], None)
    assert 'frame 0, 0.00 s' in again[2]
    # what the plot remembers of an endless stream
    clock[0] += 2 * webapp.CAMERA_SECONDS
    known = page.show_camera(frames[0], known)[-1]
    assert len(known.progress.times) == 1


# ---- in a browser


@pytest.fixture(scope='module')
def chromium() -> str:
    pytest.importorskip('playwright')
    for name in CHROMIUM:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f'no browser: none of {", ".join(CHROMIUM)}')


@contextlib.contextmanager
def served(*arguments: object) -> Iterator[str]:
    """The address of a page, while it is served."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, ROOT / 'tools/webapp.py',
         *map(str, arguments), '--port', str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(PATIENCE // 100):
            with socket.socket() as client:
                if not client.connect_ex(('127.0.0.1', port)):
                    break
            if server.poll() is not None:
                raise RuntimeError(server.communicate()[1])
            time.sleep(0.1)
        yield f'http://127.0.0.1:{port}'
    finally:
        server.terminate()
        server.communicate(timeout=30)


@contextlib.contextmanager
def browser(chromium: str, *arguments: str) -> Iterator[Any]:
    """An empty page of a browser without a screen or a network."""
    from playwright.sync_api import sync_playwright
    quiet = ('--no-sandbox', '--disable-gpu', '--disable-quic',
             '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--disable-sync')
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium, args=[*quiet, *arguments])
        page = opened.new_page(viewport=dict(width=1100, height=820))
        page.set_default_timeout(PATIENCE)
        yield page
        opened.close()


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model as initialised."""
    from mmaction.apis import init_recognizer
    path = tmp_path_factory.mktemp('page') / 'checkpoint.pth'
    model = init_recognizer(Config.fromfile(CONFIG), device='cpu')
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def test_upload_in_a_browser(chromium: str, checkpoint: Path,
                             make_video: Callable, tmp_path: Path) -> None:
    """Scores as of the stream; nothing comes from elsewhere; look back."""
    path, large = make_video(num_frames=26), tmp_path / 'large.mp4'
    large.write_bytes(path.read_bytes() + bytes(2**20))
    (tmp_path / 'text.mp4').write_text('no video')
    *_, result = StreamRecognizer(CONFIG, str(checkpoint)).stream(path)
    with served(CONFIG, checkpoint, '--max-size', 0.5) as address:
        with browser(chromium) as page:
            calls: List[str] = []
            page.on('request', lambda request: calls.append(request.url))
            page.goto(address)
            chooser = page.locator('input[type=file]').first
            chooser.set_input_files(str(path))
            page.get_by_text('frame 24, 0.96 s').wait_for()
            assert page.locator('#maps img').count() == 3
            heading = page.locator('#scores h2')
            assert heading.inner_text() == result.labels[0]
            assert page.locator('img[alt="its edge map"]').evaluate(
                'image => image.naturalWidth') == 48
            page.get_by_role('spinbutton').fill('3')
            page.get_by_role('spinbutton').press('Enter')
            page.get_by_text('frame 6, 0.24 s').wait_for()
            page.get_by_label('Clear').or_(
                page.get_by_label('Remove')).first.click()
            chooser.set_input_files(str(tmp_path / 'text.mp4'))
            page.get_by_text('text.mp4: none of MP4').wait_for()
            assert all(url.startswith((address, 'data:', 'blob:'))
                       for url in calls)
        # and whoever does not ask the browser is refused as well
        from httpx import post
        for file, status in ((path, 200), (large, 413)):
            with open(file, 'rb') as data:
                assert post(f'{address}/gradio_api/upload',
                            files=dict(files=data)).status_code == status


def test_camera_in_a_browser(chromium: str, checkpoint: Path,
                             make_frames: Callable, tmp_path: Path) -> None:
    """Frames of a file that the browser takes for a camera."""
    film = tmp_path / 'camera.y4m'
    with open(film, 'wb') as file:
        file.write(b'YUV4MPEG2 W160 H120 F25:1 Ip A1:1 C420jpeg\n')
        for frame in make_frames(25, 120, 160):
            yuv = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            file.write(b'FRAME\n' + yuv.tobytes())
    with served(CONFIG, checkpoint) as address, browser(
            chromium, '--use-fake-device-for-media-stream',
            '--use-fake-ui-for-media-stream',
            f'--use-file-for-fake-video-capture={film}') as page:
        page.goto(address)
        page.get_by_role('tab', name='Camera').click()
        page.get_by_text('Click to Access Webcam').click()
        page.get_by_label('capture photo').click()
        page.get_by_text(re.compile(r'frame (1[2-9]|[2-9]\d), ')).wait_for()
        assert page.locator('#maps img').count() == 3
        assert page.locator('#scores h2').inner_text()


def test_the_demo_in_a_browser(chromium: str,
                               pytestconfig: pytest.Config) -> None:
    """The class of each motion's first held-out clip, by the trained model."""
    trained = sorted((ROOT / 'work_dirs/lcr_motion').glob(
        'best_acc_top1_epoch_*.pth'), key=lambda path: path.stat().st_mtime)
    clips = sorted((ROOT / 'data/motion/videos/test').glob('*_0000.mp4'))
    if not trained or not clips:
        pytest.skip('make demo was not run')
    picture = pytestconfig.getoption('--picture')
    with served(CONFIG, trained[-1]) as address, browser(chromium) as page:
        page.goto(address)
        right = 0
        for clip in clips:
            page.locator('input[type=file]').first.set_input_files(str(clip))
            page.get_by_text('frame 14, 0.56 s').wait_for()
            name = page.locator('#scores h2').inner_text()
            right += name == clip.stem.rsplit('_', 1)[0]
            if picture and clip.stem == 'clockwise_0000':
                page.screenshot(path=picture)
            page.reload()
        assert right >= len(clips) - 1  # of twelve, one may be wrong
