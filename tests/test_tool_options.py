# Copyright (c) The mmlcr authors. All rights reserved.
"""Every option of every command has an effect, or is refused."""
import argparse
import importlib
import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple
from unittest import mock

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from processes import run_script

from mmlcr.cli.models import build_recognizer, segment_settings
from mmlcr.streaming import CONTEXTS, CROPS, Settings
from mmlcr.streaming.segments import BACKGROUND
from mmlcr_cli import COMMANDS
from mmlcr_cli import arguments as shared
from mmlcr_cli import parse as parse_command
from mmlcr_cli.main import load, module_name

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / 'tests'
OF_CONFIG = '--data-root', '--fold', '--num-classes', '--cfg-options'
OF_STREAM = '--context', '--fps', '--pipeline', '--crops', '--device'
OF_SEGMENTS = (*(f'--{name}' for name in Settings._fields), '--background')
HERE = 'test_tool_options.py'

# where the effect of an option is seen: file::test, which names the option
SEEN: Dict[str, Dict[str, str]] = {
    'analyze curves': {
        '--out': 'test_tools.py::test_analyze_tells_of_training_and_test'},
    'analyze confusion': dict.fromkeys(
        ['--out', '--num'],
        'test_tools.py::test_analyze_tells_of_training_and_test'),
    'analyze classes': dict.fromkeys(
        ['--out', '--csv'],
        'test_tools.py::test_analyze_tells_of_training_and_test'),
    'analyze worst': dict.fromkeys(
        ['--out', '--num'],
        'test_tools.py::test_analyze_tells_of_training_and_test'),
    'benchmark': {
        **dict.fromkeys(
            ['--shape', '--parts', '--others', '--threads', '--repeats',
             '--out'], 'test_tools.py::test_benchmark'),
        **dict.fromkeys(['--checkpoint', '--compiled'],
                        f'{HERE}::test_what_a_benchmark_is_of')},
    'check-resume': dict.fromkeys(
        ['--kills', '--seed', '--work-dir'],
        f'{HERE}::test_kills_are_drawn_by_a_seed'),
    'compare': {
        **dict.fromkeys(
            ['--peers', '--start', '--work-dir', '--cfg-options'],
            'cli/test_compare.py::test_a_comparison_goes_on_and_repeats_'
            'nothing'),
        **dict.fromkeys(['--folds', '--seeds', '--jobs', '--threads'],
                        'cli/test_compare.py::test_runs_of_rows_take_turns'),
        **dict.fromkeys(
            ['--rates', '--rate-folds'],
            'cli/test_compare.py::test_rates_are_chosen_on_inner_splits'),
        '--data-root':
            'cli/test_compare.py::test_options_have_the_effect_they_have_on_'
            'lcr',
        '--write-only': 'cli/test_compare.py::test_configs_alone'},
    'configs': {'--paths': 'test_mmlcr_command.py::test_configs_are_listed'},
    'convert': {
        '--out': 'test_convert_vrwkv.py::'
                 'test_configs_start_from_converted_weights'},
    'curve': {
        **dict.fromkeys(
            ['--groups', '--steps', '--product'],
            'cli/test_curve.py::test_a_curve_varies_one_thing'),
        **dict.fromkeys(
            ['--group-pattern', '--starts', '--folds', '--seeds', '--jobs',
             '--threads', '--work-dir', '--data-root', '--cfg-options'],
            'cli/test_curve.py::test_runs_of_a_curve')},
    'export': {
        **dict.fromkeys(
            ['--int8', '--steps'],
            'test_tools.py::test_a_step_is_exported_and_streams'),
        **dict.fromkeys(['--frame-size', '--pipeline'],
                        f'{HERE}::test_a_step_is_for_the_views')},
    'features': dict.fromkeys(
        ['--out', '--per', '--ann-file', '--data-prefix', '--workers',
         '--device'], f'{HERE}::test_features_by_each_option'),
    'flops': {'--shape': f'{HERE}::test_flops_are_of_the_shape'},
    'motion': dict.fromkeys(
        ['--out', '--clips', '--size', '--frames', '--seed'],
        f'{HERE}::test_a_motion_set_by_each_option'),
    'people': dict.fromkeys(
        ['--out', '--sheet', '--programs', '--clips', '--frames', '--size',
         '--seed'], f'{HERE}::test_people_by_each_option'),
    'prepare': {
        '--out': 'test_prepare.py::prepare',
        **dict.fromkeys(['--group', '--folds'],
                        'test_prepare.py::test_folds_are_of_people_in_order'),
        **dict.fromkeys(['--test-share', '--val-share'],
                        'test_prepare.py::test_shares_are_of_people'),
        '--copy': 'test_prepare.py::test_copies',
        '--scan': 'test_prepare.py::test_scan_decodes_all',
        '--force': 'test_prepare.py::test_nothing_is_lost',
        **dict.fromkeys(['--name', '--seed', '--group-pattern'],
                        f'{HERE}::test_a_split_by_each_option')},
    'prepare-public': {
        '--data-root': 'test_prepare_public.py::run',
        '--videos': 'test_prepare_public.py::'
                    'test_jester_of_frames_and_of_videos'},
    'publish': {},
    'scan': {
        **dict.fromkeys(['--splits', '--seconds'],
                        'test_tools.py::test_scan_names_bad_clips'),
        **dict.fromkeys(['--out', '--jobs'],
                        f'{HERE}::test_a_scan_by_each_option')},
    'stream': {
        **dict.fromkeys(OF_STREAM, f'{HERE}::test_stream_arguments'),
        **dict.fromkeys(OF_SEGMENTS, f'{HERE}::test_settings_of_segments'),
        **dict.fromkeys(
            ['--out', '--video', '--plot', '--maps', '--load-state',
             '--save-state', '--topk'],
            'test_tools.py::test_stream_writes_lines_video_plot_and_state'),
        **dict.fromkeys(['--source-fps', '--live', '--segments', '--show'],
                        f'{HERE}::test_a_stream_by_each_option')},
    'stream-accuracy': {
        **dict.fromkeys(['--streams', '--frames', '--out'],
                        'test_tools.py::test_accuracy_on_streams'),
        **dict.fromkeys(OF_SEGMENTS, f'{HERE}::test_settings_of_segments'),
        **dict.fromkeys(['--seed', '--ann-file', '--segments', '--tune'],
                        f'{HERE}::test_accuracy_by_each_option')},
    'sweep': {
        **dict.fromkeys(
            ['--plan', '--work-dir'],
            'test_tools.py::test_sweep_tabulates_and_repeats_nothing'),
        **dict.fromkeys(['--only', '--folds', '--seeds', '--jobs', '--threads',
                         '--data-root', '--cfg-options'],
                        f'{HERE}::test_runs_of_a_sweep')},
    'test': {
        '--dump': 'test_tools.py::test_test_reports_and_dumps',
        '--work-dir': 'test_tools.py::test_test_reports_and_dumps',
        **dict.fromkeys(['--show', '--show-dir'],
                        'test_tools.py::test_show_is_refused_with_the_way_out'
                        ),
        **dict.fromkeys(['--interval', '--wait-time'],
                        f'{HERE}::REFUSED'),
        '--launcher': 'test_tools.py::test_two_processes_by_gloo',
        '--local-rank': f'{HERE}::test_a_rank_of_an_old_launcher'},
    'warmup': {},
    'train': {
        '--resume': 'test_tools.py::test_resume_goes_on',
        **dict.fromkeys(['--amp', '--auto-scale-lr', '--no-validate'],
                        'test_tools.py::test_amp_and_auto_scale_lr'),
        **dict.fromkeys(['--seed', '--diff-rank-seed', '--deterministic'],
                        f'{HERE}::test_randomness_of_a_training'),
        '--work-dir': 'test_tools.py::test_resume_goes_on',
        '--launcher': 'test_tools.py::test_two_processes_by_gloo',
        '--local-rank': f'{HERE}::test_a_rank_of_an_old_launcher'},
    'visualize': {
        **dict.fromkeys(OF_STREAM, f'{HERE}::test_stream_arguments'),
        **dict.fromkeys(
            ['--out', '--video', '--rows', '--layer', '--cam', '--columns',
             '--topk'],
            'test_tools.py::test_visualize_classifies_and_draws'),
        '--frames': 'test_tools.py::test_visualize_takes_folders_and_few_'
                    'frames',
        **dict.fromkeys(['--seed', '--source-fps'],
                        f'{HERE}::test_a_picture_by_each_option')},
    'page': {
        **dict.fromkeys(OF_STREAM, f'{HERE}::test_stream_arguments'),
        **dict.fromkeys(['--host', '--port', '--max-size', '--max-seconds'],
                        f'{HERE}::test_what_a_page_is_served_with')},
}

CONFIG = 'configs/lcr_motion.py'
MODEL = [CONFIG, 'mmlcr://lcr_motion']
CURVE = [CONFIG, '--groups', '1', '--steps', '1', '--group-pattern', 'a',
         '--work-dir', 'w']
REFUSED: List[Tuple[str, List[Any], str]] = [
    ('test', [*MODEL, '--interval', '2'], 'VisualizationHook'),
    ('test', [*MODEL, '--wait-time', '2'], 'VisualizationHook'),
    ('test', [*MODEL, '--dump', 'a.json'], 'must end in .pkl'),
    ('train', [CONFIG, '--diff-rank-seed'], 'one process'),
    ('stream', [*MODEL, 'v', '--maps'], '--video or --show'),
    ('stream', [*MODEL, 'v', '--topk', '0'], 'must be positive'),
    *[('stream', [*MODEL, 'v', option, '1'], 'without --segments')
      for option in OF_SEGMENTS],
    *[('stream-accuracy', [*MODEL, option, '1'], 'without --segments')
      for option in OF_SEGMENTS],
    ('stream-accuracy', [*MODEL, '--segments', '--tune'],
     'without --ann-file'),
    *[('visualize', [*MODEL, 'v', *options], 'without --out')
      for options in (['--rows', 'cam'], ['--layer', '0'], ['--cam', 'left'],
                      ['--seed', '1'], ['--columns', '2'],
                      ['--columns', '2', '--video', 'a.mp4'])],
    ('features', [*MODEL, '--out', 'o', '--per', 'frame', '--workers',
                          '1'], 'one process'),
    ('features', [*MODEL, '--out', 'o', '--workers', '-1'],
     'not be negative'),
    ('prepare', ['s', '--out', 'o', '--folds', '2', '--group', 'g',
                         '--seed', '1'], 'alphabetical order'),
    ('prepare', ['s', '--out', 'o', '--folds', '2', '--val-share',
                         '0.1'], '--folds go without'),
    ('scan', [CONFIG, '--jobs', '0'], 'must be positive'),
    ('scan', [CONFIG, '--seconds', '-1'], 'not be negative'),
    ('export', [*MODEL, 'a.onnx', '--steps', '0'], 'must be positive'),
    ('export', [*MODEL, 'a.onnx', '--frame-size', '0', '9'],
     'must be positive'),
    ('stream-accuracy', [*MODEL, '--streams', '0'], 'must be positive'),
    ('stream-accuracy', [*MODEL, '--frames', '-1'], 'must be positive'),
    ('page', [*MODEL, '--max-size', '-1'], 'must be positive'),
    ('page', [*MODEL, '--max-seconds', '0'], 'must be positive'),
    ('page', [*MODEL, '--port', '0'], 'must be positive'),
    ('benchmark', [CONFIG, '--threads', '0'], 'must be positive'),
    ('check-resume', [CONFIG, '--kills', '0'], 'must be positive'),
    ('visualize', [*MODEL, 'v', '--out', 'a.png', '--rows', 'frame', '--layer',
                   '0'], '--layer is of the rows gate'),
    ('visualize', [*MODEL, 'v', '--out', 'a.png', '--rows', 'frame', '--seed',
                   '1'], '--seed is of the rows tube'),
    ('visualize', [*MODEL, 'v', '--out', 'a.png', '--rows', 'gate', '--cam',
                   'left'], '--cam is of the rows cam'),
    ('sweep', [CONFIG, '--work-dir', 'w', '--only', 'a'], '--plan'),
    ('sweep', [CONFIG, '--work-dir', 'w', '--jobs', '0'], 'be positive'),
    *[('curve', [*CURVE, *words], message) for words, message in (
        (['--groups', '0'], 'must be positive'),
        (['--steps', '-1'], 'must be positive'),
        (['--threads', '0'], 'must be positive'),
        (['--starts', 'a'], 'NAME=CHECKPOINT'),
        (['--starts', 'scratch=a'], 'NAME=CHECKPOINT'),
        (['--starts', 'a-b=c'], 'NAME=CHECKPOINT'),
        (['--starts', 'a=b', 'a=c'], 'occurs twice'))],
    ('compare', [CONFIG, '--work-dir', 'w', '--peers', 'i3d'],
     "invalid choice: 'i3d'"),
    ('compare', [CONFIG, '--work-dir', 'w', '--rates', '1e-3', '0'],
     'must be positive, got 0'),
    ('compare', [CONFIG, '--work-dir', 'w', '--start', 'lcr'],
     'not KEY=VALUE'),
    ('compare', [CONFIG, '--work-dir', 'w', '--write-only', '--start',
                 'lcr=a.pth'], '--write-only does not'),
    ('benchmark', [CONFIG, '--parts', 'stream', '--compiled'], 'part "clip"'),
    ('benchmark', [CONFIG, '--parts', 'stream', '--others', 'X3D-M'],
     'part "clip"'),
]


@pytest.fixture
def parse() -> Callable[..., Any]:
    """The arguments of a command, and the module that executes it."""

    def run(name: str, *arguments: object) -> Any:
        args = parse_command(name, [str(word) for word in arguments])
        return args, importlib.import_module(f'mmlcr.cli.{module_name(name)}')

    return run


def options_of(parser: argparse.ArgumentParser,
               name: str) -> Iterator[Tuple[str, str]]:
    """Name of a command or of a part of it, and each of its options."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part, its in action.choices.items():
                yield from options_of(its, f'{name} {part}')
        elif action.option_strings and action.dest != 'help':
            yield name, action.option_strings[-1]


@pytest.fixture(scope='module')
def options() -> Dict[str, List[str]]:
    """All options by command."""
    found: Dict[str, List[str]] = {}
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        load(command).add_arguments(parser)
        for name, option in options_of(parser, command):
            found.setdefault(name, []).append(option)
    return found


def test_each_option_is_in_the_table(options: Dict[str, List[str]]) -> None:
    for name in {*options, *SEEN}:
        shared = {*OF_CONFIG} - {*SEEN.get(name, {})}
        assert {*options.get(name, [])} - shared == {*SEEN[name]}, name


@pytest.mark.parametrize('name', SEEN)
def test_the_table_names_tests_of_the_option(name: str) -> None:
    """They exist, and the option, or its name in Python, is in them."""
    for option, where in SEEN[name].items():
        file, test = where.split('::')
        text = (TESTS / file).read_text()
        body = re.search(
            rf'^(?:def {test}\(|{test}: ).*?(?=^(?:def|class|@)|\Z)', text,
            re.DOTALL | re.MULTILINE)
        assert body, where
        name = option[2:].replace('-', '_')
        assert re.search(rf'{option}\b|\b{name}\b', body[0]), (option, where)


def test_options_of_a_config_are_read_by_one_function(
        options: Dict[str, List[str]]) -> None:
    """tests/cli/test_launch.py tests it."""
    for name, its in options.items():
        if {*OF_CONFIG} <= {*its}:
            module = module_name(name.split()[0])
            text = (ROOT / f'mmlcr/cli/{module}.py').read_text()
            assert re.search(r'load_config\(args|build_recognizer\(args|'
                             r'build_model_and_clip\(args|prepare\(args',
                             text), name


@pytest.mark.parametrize('command, arguments, message', REFUSED)
def test_what_would_change_nothing_is_refused(
        command: str, arguments: List[Any], message: str, parse: Callable,
        capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        parse(command, *arguments)
    assert error.value.code == 2
    assert message in ' '.join(capsys.readouterr().err.split())


# ---- effects that no other test shows


def test_stream_arguments() -> None:
    """--context, --fps, --pipeline, --crops and --device."""
    parser = argparse.ArgumentParser()
    shared.add_stream_arguments(parser)
    args = parser.parse_args([str(ROOT / CONFIG), MODEL[1]])
    plain = build_recognizer(args)
    args = parser.parse_args([
        str(ROOT / CONFIG), MODEL[1], '--context', 'free', '--fps', '5',
        '--pipeline', 'val_pipeline', '--device', 'meta'])
    with pytest.raises(Exception, match='meta'):
        build_recognizer(args)
    args.device = 'cpu'
    other = build_recognizer(args)
    assert (plain.context, other.context) == ('windowed', 'free')
    assert plain.fps != other.fps == 5
    args.crops = 'some'
    with pytest.raises(ValueError, match="crops must be one of .*'all'"):
        build_recognizer(args)
    args.crops = 'all'
    args.pipeline = 'no_pipeline'
    with pytest.raises(ValueError, match='no no_pipeline'):
        build_recognizer(args)


def test_settings_of_segments() -> None:
    """--smoothing, --enter, --leave, --shortest, --gap and --delay."""
    parser = argparse.ArgumentParser()
    shared.add_segment_arguments(parser)
    assert segment_settings(parser.parse_args([])) == Settings()
    for number, name in enumerate(Settings._fields):
        value = 0.01 * (number + 1)
        args = parser.parse_args([f'--{name}', str(value)])
        assert segment_settings(args) == Settings()._replace(**{name: value})
    args = parser.parse_args(['--background', 'left', 'right'])
    assert args.background == ['left', 'right']


def test_help_tells_the_defaults_of_the_package() -> None:
    """They are written there, as its import takes seconds."""
    assert (shared.CONTEXTS, shared.CROPS) == (CONTEXTS, CROPS)
    assert shared.BACKGROUND == BACKGROUND
    defaults = {
        name: default
        for name, (default, _) in shared.SEGMENT_SETTINGS.items()
    }
    assert defaults == Settings()._asdict()


@pytest.fixture
def clip(tmp_path: Path, make_video: Callable) -> Path:
    return make_video('clip.mp4', num_frames=26, step=2)


def stream(folder: Path, clip: Path, *options: object) -> Any:
    return run_script(ROOT / 'tools/stream.py', ROOT / CONFIG, MODEL[1], clip,
                      *options, cwd=folder)


def test_a_stream_by_each_option(clip: Path, tmp_path: Path) -> None:
    plain = stream(tmp_path, clip, '--segments', 'a.csv', '--shortest', 0,
                   '--enter', 0, '--leave', 0, '--gap', 0, '--delay', 0)
    lines = [json.loads(line) for line in plain.stdout.splitlines()]
    assert lines[-1]['seconds'] == pytest.approx(0.96)
    rows = (tmp_path / 'a.csv').read_text().splitlines()
    assert rows[0] == 'start,end,label,score' and len(rows) > 1
    slow = stream(tmp_path, clip, '--source-fps', 5)
    last = json.loads(slow.stdout.splitlines()[-1])
    assert last['seconds'] == pytest.approx(5)
    live = stream(tmp_path, clip, '--live')
    assert 'delay' in live.stderr and 'delay' not in plain.stderr
    shown = stream(tmp_path, clip, '--show')
    assert shown.returncode in (0, 1)  # there may be a screen
    assert ('no screen' in shown.stderr) == bool(shown.returncode)


def test_a_picture_by_each_option(clip: Path, parse: Callable,
                                  tmp_path: Path) -> None:
    """--seed is of the tube mask, --source-fps of times."""
    _, module = parse('visualize', *MODEL, clip, '--out', 'a.png')
    config = Config.fromfile(ROOT / CONFIG)
    picture = np.zeros((48, 48, 3), np.uint8)
    masks = [module.draw_mask(config, picture, seed) for seed in (0, 0, 1)]
    assert (masks[0] == masks[1]).all() and (masks[0] != masks[2]).any()
    args, _ = parse('visualize', *MODEL, clip, '--out', 'a.png', '--seed', 3,
                    '--source-fps', 4)
    assert (args.seed, args.source_fps) == (3, 4)
    output = [run_script(ROOT / 'tools/visualize.py', ROOT / CONFIG, MODEL[1],
                       clip, *options, cwd=tmp_path).stdout
            for options in ((), ('--source-fps', 4))]
    assert output[0] != output[1]  # other frames are due


def test_features_by_each_option(parse: Callable, tmp_path: Path) -> None:
    """--out, --per and --workers: tests/streaming/test_features.py."""
    args, module = parse(
        'features', ROOT / CONFIG, MODEL[1], '--out', 'o', '--per',
        'view', '--ann-file', tmp_path / 'list.txt', '--data-prefix', 'there',
        '--workers', 3, '--device', 'meta')
    (tmp_path / 'list.txt').write_text('a.mp4 0\n')
    config = Config.fromfile(ROOT / CONFIG)
    config.test_dataloader.dataset.update(check_files=False, classes=())
    dataset = module.build(config, args)
    assert dataset.get_data_info(0)['filename'] == 'there/a.mp4'
    assert (args.per, args.workers, args.out) == ('view', 3, 'o')
    with pytest.raises(Exception, match='meta'):
        module.extract(args)


def test_flops_are_of_the_shape(tmp_path: Path) -> None:
    output = [run_script(ROOT / 'tools/get_flops.py', ROOT / CONFIG, '--shape',
                       frames, 48, 48, cwd=tmp_path).stdout
            for frames in (4, 8)]
    assert '4 frames of 48x48' in output[0] and '8 frames' in output[1]
    assert output[0].split('multiply')[0] != output[1].split('multiply')[0]


def test_what_a_benchmark_is_of(parse: Callable) -> None:
    """--checkpoint and --compiled."""
    from mmlcr.cli.benchmark_cases import stream_cases
    args, module = parse('benchmark', ROOT / CONFIG, '--checkpoint', 'no.pth',
                         '--parts', 'stream')
    with pytest.raises(Exception, match='no.pth'):
        stream_cases(args)
    args, module = parse('benchmark', ROOT / CONFIG, '--compiled')
    text = (ROOT / 'mmlcr/cli/benchmark_cases.py').read_text()
    assert args.compiled
    assert 'other_ways(model, clip, base, args.compiled)' in text


def test_kills_are_drawn_by_a_seed(parse: Callable) -> None:
    """--kills, --seed and --work-dir; a run of it takes minutes."""
    args, _ = parse('check-resume', ROOT / CONFIG, '--kills', 3, '--seed', 7,
                    '--work-dir', 'there')
    text = (ROOT / 'mmlcr/cli/check_resume.py').read_text()
    assert (args.kills, args.seed, args.work_dir) == (3, 7, 'there')
    for name in 'kills', 'seed', 'work_dir':
        assert f'args.{name}' in text


def test_a_step_is_for_the_views(tmp_path: Path) -> None:
    """--frame-size and --pipeline: of pictures of another shape."""
    pytest.importorskip('onnxruntime')
    output = run_script(
        ROOT / 'tools/export_onnx.py', ROOT / CONFIG, MODEL[1], 'a.onnx',
        '--frame-size', 64, 48, '--pipeline', 'no_pipeline', cwd=tmp_path,
        together=True)
    assert output.returncode and 'no no_pipeline' in output.stdout
    text = (ROOT / 'mmlcr/cli/export.py').read_text()
    assert 'args.frame_size' in text and 'pipeline=args.pipeline' in text


def test_a_motion_set_by_each_option(tmp_path: Path) -> None:
    """--out, --clips, --size, --frames and --seed."""
    from mmlcr.video import VideoReader
    found = []
    for seed in (0, 0, 1):
        out = tmp_path / f'{len(found)}'
        run = run_script(
            ROOT / 'tools/make_motion.py', '--out', out, '--clips', 1, 1, 1,
            '--size', 64, '--frames', 9, '--seed', seed, cwd=tmp_path,
            together=True)
        assert run.returncode == 0, run.stdout[-500:]
        videos = sorted((out / 'videos').rglob('*.mp4'))
        reader = VideoReader(str(videos[0]))
        assert len(reader) == 9 and 64 in reader.size
        found.append(reader.frames_at([0])[0])
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()


def test_people_by_each_option(parse: Callable, tmp_path: Path) -> None:
    """--out, --sheet, --programs, --clips, --frames, --size and --seed."""
    from mmlcr.video import VideoReader
    found = []
    for seed in (0, 0, 1):
        out = tmp_path / f'{len(found)}'
        args, module = parse(
            'people', '--out', out, '--programs', 2, '--clips', 3, '--frames',
            9, '--size', 96, 64, '--seed', seed)
        module.main(args)
        videos = sorted(out.glob('*.mp4'))
        assert [video.name for video in videos] == [
            f'{label:03d}_{clip}.mp4' for label in (0, 1) for clip in range(3)]
        reader = VideoReader(str(videos[0]))
        assert len(reader) == 9 and tuple(reader.size) == (96, 64)
        found.append(reader.frames_at([0])[0])
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()
    sheet = tmp_path / 'sheet.png'
    args, module = parse('people', '--sheet', sheet, '--programs', 3,
                         '--clips', 1, '--size', 40, 32)
    module.main(args)
    picture = np.asarray(Image.open(sheet))
    assert picture.shape == (2 * 32, 2 * 8 * 40, 3)
    assert picture[:32].any() and not picture[32:, 8 * 40:].any()


def test_a_split_by_each_option(tmp_path: Path, make_video: Callable,
                                parse: Callable,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """--name, --seed and --group-pattern."""
    for person in 'abcdef':
        for action in ('one', 'two'):
            make_video(f'source/{action}/{person}_1.mp4', num_frames=12)
    monkeypatch.chdir(tmp_path)
    lists = []
    for number, options in enumerate((
            ['--seed', 0], ['--seed', 1], ['--seed', 0, '--group-pattern',
                                           '/([a-z])_'])):
        args, module = parse('prepare', 'source', '--out', f'd{number}',
                          '--name', 'mine', *options)
        assert module.main(args) in (0, None)
        assert (tmp_path / f'd{number}/lcr_mine.py').exists()
        lists.append((tmp_path / f'd{number}/test.txt').read_text())
    assert len({*lists}) == 3
    people = [line.split('_')[0][-1] for line in lists[2].splitlines()]
    assert all(people.count(person) == 2 for person in people)


def test_a_scan_by_each_option(parse: Callable, tmp_path: Path,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    """--out and --jobs; a split that is named twice is scanned once."""
    args, module = parse('scan', ROOT / CONFIG, '--out', tmp_path / 'o.txt',
                      '--jobs', 3, '--splits', 'val', 'val')
    calls = []

    def scan(dataset: Any, jobs: int, seconds: float) -> Any:
        calls.append((jobs, seconds))
        yield 0, 'a reason'

    class Dataset(list):
        clip_key = 'filename'

        def get_data_info(self, number: int) -> dict:
            return dict(filename='a.mp4')

    monkeypatch.setattr(module, 'build', lambda dataset: [Dataset([0])])
    monkeypatch.setattr(module, 'scan', scan)
    assert module.main(args) == 1
    assert calls == [(3, 120)]
    assert (tmp_path / 'o.txt').read_text() == 'a.mp4\ta reason\n'


def test_accuracy_by_each_option(clip: Path, tmp_path: Path) -> None:
    """--seed, --ann-file, --segments and --tune."""
    data = tmp_path / 'data'
    (data / 'videos').mkdir(parents=True)
    for name in 'abcd':
        (data / f'videos/{name}.mp4').write_bytes(clip.read_bytes())
    (data / 'other.txt').write_text(''.join(
        f'{name}.mp4 {label}\n' for label, name in enumerate('abcd')))
    classes = Config.fromfile(ROOT / CONFIG).num_classes
    (data / 'classes.txt').write_text('\n'.join(
        f'class {i}' for i in range(classes)))
    run = run_script(
        ROOT / 'tools/stream_accuracy.py', ROOT / CONFIG, MODEL[1],
        '--data-root', data, '--ann-file', data / 'other.txt', '--streams', 1,
        '--frames', 60, '--seed', 3, '--segments', '--tune', '--out', 'o.json',
        cwd=tmp_path, together=True)
    assert run.returncode == 0, run.stdout[-2000:]
    assert '| context | segment F1 |' in run.stdout
    assert 'windowed, the best: --smoothing' in run.stdout
    figures = json.loads((tmp_path / 'o.json').read_text())
    assert 0 <= figures['windowed']['segments']['f1'] <= 100


def test_runs_of_a_sweep(parse: Callable, tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    """--only, --folds, --seeds, --jobs, --threads, --data-root and
    --cfg-options."""
    (tmp_path / 'plan.yml').write_text('a: [x=1]\nb: [x=2]\nc:\n')
    commands: List[Any] = []
    args, module = parse(
        'sweep', CONFIG, '--plan', tmp_path / 'plan.yml', '--only', 'b', 'c',
        '--folds', 0, 2, '--seeds', 4, 5, '--jobs', 2, '--threads', 3,
        '--work-dir', tmp_path / 'w', '--data-root', 'there', '--cfg-options',
        'y=1')

    def run(command: Any, env: Any, **kwargs: Any) -> Any:
        commands.append((command, env['OMP_NUM_THREADS']))
        return argparse.Namespace(returncode=1)

    monkeypatch.setattr(module.subprocess, 'run', run)
    with pytest.raises(RuntimeError, match='failed'):
        module.main(args)
    assert {threads for _, threads in commands} == {'3'}
    for command, _ in commands:
        assert {'there', 'y=1'} <= {*command} and 'x=1' not in command
        assert command[command.index('--fold') + 1] in '02'
        assert command[command.index('--seed') + 1] in '45'


def test_randomness_of_a_training(parse: Callable) -> None:
    """--seed, --diff-rank-seed and --deterministic, each by itself."""
    for options, expected in (
            (['--seed', 0], dict(seed=0)),
            (['--deterministic'], dict(seed=4, deterministic=True)),
            (['--diff-rank-seed', '--launcher', 'pytorch'],
             dict(seed=4, diff_rank_seed=True))):
        args, module = parse('train', ROOT / CONFIG, *options)
        config = Config.fromfile(ROOT / CONFIG)
        config.randomness = dict(seed=4)
        module.merge_args(config, args)
        assert dict(config.randomness) == expected


def test_a_rate_that_a_schedule_sets_is_not_scaled(parse: Callable) -> None:
    args, module = parse('train', ROOT / 'configs/lcr_weizmann.py',
                         '--auto-scale-lr')
    config = Config.fromfile(ROOT / 'configs/lcr_weizmann.py')
    with pytest.raises(ValueError, match='OneCycleLR sets the rate.*eta_max'):
        module.merge_args(config, args)


def test_a_rank_of_an_old_launcher(parse: Callable,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """--local-rank becomes what MMEngine reads, unless that is set."""
    from mmengine.runner import Runner

    from mmlcr.cli.launch import build_runner
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setattr(Runner, 'from_cfg', lambda config: None)
    args, _ = parse('test', *MODEL, '--local-rank', 3)
    build_runner(Config(), args)
    import os
    assert os.environ['LOCAL_RANK'] == '3'


def test_what_a_page_is_served_with(parse: Callable,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """--host, --port, --max-size and --max-seconds."""
    pytest.importorskip('gradio')
    args, module = parse('page', *MODEL, '--host', '0.0.0.0', '--port', 7,
                      '--max-seconds', 9, '--max-size', 3)
    page = mock.MagicMock()
    monkeypatch.setattr(module, 'Page', page)
    monkeypatch.setattr(module, 'build_recognizer', mock.Mock())
    module.main(args)
    assert page.call_args[0][2] == 9
    served = page().blocks().queue().launch.call_args[1]
    assert served['server_name'] == '0.0.0.0' and served['server_port'] == 7
    assert served['max_file_size'] == 3 * 2**20
