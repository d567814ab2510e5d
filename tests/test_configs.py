# Copyright (c) The mmlcr authors. All rights reserved.
"""Every config parses and builds; the large ones run on real clips."""
import inspect
import re
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPERS, RUNNERS, STRATEGIES
from mmengine.runner import Runner

from mmaction.registry import DATASETS, MODELS
from mmlcr.datasets import mirrored_labels, without_mirrored
from mmlcr.engine import find_config
from mmlcr.streaming import StreamRecognizer

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py'))
LARGE = {
    'lcr_k400': ('kinetics400', 'kinetics400_{}_list_videos.txt',
                 'videos_{}'),
    'lcr_ssv2': ('sthv2', 'sthv2_{}_list_videos.txt', 'videos'),
    'lcr_jester': ('jester', 'jester_{}_list_rawframes.txt', 'rawframes'),
    'lcr_jester_videos': ('jester', 'jester_{}_list_videos.txt', 'videos'),
}


def read(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@pytest.mark.parametrize('name', NAMES)
def test_config_builds(name: str) -> None:
    config = read(name)
    model = MODELS.build(config.model)
    assert model.cls_head.num_classes == config.num_classes
    for key in ('train', 'val', 'test'):
        pipeline = config[f'{key}_pipeline']
        dataloader = config[f'{key}_dataloader']
        if (name, key) != ('lcr_people', 'test'):  # that one is for videos
            assert dataloader.dataset.pipeline == pipeline
        assert any(step.type == 'EdgeMap' for step in pipeline)
    masks = [s for s in config.train_pipeline if s.type == 'TubeMask']
    assert masks[0].patch_size == config.model.backbone.patch_size
    assert 'base_batch_size' in config.auto_scale_lr
    assert config.custom_imports.imports == ['mmlcr']
    clipping = config.get('strategy', {}).get('gradient_clipping')
    assert clipping or config.optim_wrapper.clip_grad


def depth(path: Path) -> int:
    """Files in the longest chain of ``_base_`` from a config."""
    return 1 + max(map(depth, map(Path, (
        path.parent / base for base in Config._get_base_files(path)))),
        default=0)


def test_bases_are_few_levels_and_one_of_a_kind() -> None:
    for path in CONFIGS.glob('recognition/*/*.py'):
        assert depth(path) <= 3, path
    kinds = {path.name for path in (CONFIGS / '_base_').iterdir()}
    assert kinds == {'models', 'datasets', 'schedules', 'default_runtime.py'}
    texts = [path.read_text().split('\n\n', 1)[-1]
             for path in CONFIGS.glob('_base_/*/*.py')]
    assert len({*texts}) == len(texts)
    named = {'size', 'flip', 'resize', 'tube_mask'}
    for name in NAMES:
        config = read(name)
        assert named <= {*config}, name
        assert 'sample' in config or name == 'lcr_people'  # drawn
        for step in (config.flip, config.tube_mask):
            assert step.type in {s.type for s in config.train_pipeline}


def test_no_config_changes_a_transform_by_its_place() -> None:
    """But by its name: a place is another when a transform is added."""
    root = CONFIGS.parent
    plans = [*root.glob('tools/*.yml'), root / 'mmlcr/cli/recipes.py']
    for path in [*CONFIGS.rglob('*.py'), *plans]:
        assert not re.search(r'pipeline(\[|\.)\d', path.read_text()), path


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('recognition/*/*.py')),
                         ids=lambda path: path.stem)
def test_a_config_is_found_by_its_long_name(
        path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (path.stem, path.name, path.relative_to(CONFIGS.parent)):
        assert find_config(str(name)) == str(path)


def test_a_config_is_found_by_its_short_name(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        for called in (name, f'{name}.py', f'configs/{name}.py'):
            assert find_config(called) == str(CONFIGS / f'{name}.py')
    with pytest.raises(FileNotFoundError, match='no config lcr_k40; .*lists'):
        find_config('lcr_k40')


@pytest.mark.parametrize('name', LARGE)
def test_large_config_without_data_says_what_it_expects(
        name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    config = read(name)
    with pytest.raises(FileNotFoundError, match=r'expected are that list'):
        DATASETS.build(config.train_dataloader.dataset)


@pytest.mark.parametrize('name',
                         ['lcr_jester', 'lcr_jester_videos', 'lcr_motion'])
def test_flip_swaps_mirrored_names(name: str) -> None:
    config = read(name)
    if name == 'lcr_motion':
        from mmlcr.cli.motion import MOTIONS
        classes = list(MOTIONS)
    else:
        classes = config.classes
    assert len(classes) == config.num_classes
    assert config.flip_label_map == mirrored_labels(classes)
    assert not without_mirrored(classes)
    flip, = (s for s in config.train_pipeline if s.type == 'Flip')
    assert flip.flip_label_map == config.flip_label_map


def test_flip_of_ssv2_swaps_mirrored_names() -> None:
    """By the names that have a side; tools/prepare_public.py sees them all."""
    names = [f'Doing {number} with something' for number in range(174)]
    names[50] = 'Plugging something into something but pulling it right out'
    names[86] = 'Pulling something from left to right'
    names[87] = 'Pulling something from right to left'
    names[93] = 'Pushing something from left to right'
    names[94] = 'Pushing something from right to left'
    names[166] = 'Turning the camera left while filming something'
    names[167] = 'Turning the camera right while filming something'
    assert read('lcr_ssv2').flip_label_map == mirrored_labels(names)


def lay_out(name: str, root: Path, clips: Path) -> None:
    """Real clips in MMAction2's layout of a data set."""
    _, lists, folder = LARGE[name]
    names = ''.join(f'{i}\n' for i in range(read(name).num_classes))
    (root / 'classes.txt').write_text(names)
    for split in ('train', 'val'):
        lines = []
        videos = root / folder.format(split)
        videos.mkdir(exist_ok=True)
        sources = sorted(p for p in clips.iterdir() if p.suffix != '.md')
        for label, path in enumerate(sources):
            target = videos / path.name
            if name == 'lcr_jester':
                frames = write_frames(path, videos / path.stem)
                lines.append(f'{path.stem} {frames} {label}\n')
                continue
            if not target.exists():
                target.symlink_to(path)
            lines.append(f'{path.name} {label}\n')
        (root / lists.format(split)).write_text(''.join(lines))


def write_frames(video: Path, folder: Path, most: int = 40) -> int:
    """The first frames of a video as Jester has them; their number."""
    folder.mkdir(exist_ok=True)
    capture = cv2.VideoCapture(str(video))
    count = 0
    while count < most:
        there, frame = capture.read()
        if not there:
            break
        count += 1
        cv2.imwrite(str(folder / f'{count:05d}.jpg'), frame)
    return count


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.long] * (name == 'lcr_ssv2'))
    for name in LARGE
])
def test_large_config_trains_and_tests_a_step_on_real_clips(
        name: str, shared_data: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(name, tmp_path, shared_data / 'clips')
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    config = read(name)
    config.model.backbone.init_cfg = None  # of converted weights
    model = MODELS.build(config.model)
    model.init_weights()
    most = 5.5e6 if name == 'lcr_jester' else 11.3e6
    assert sum(p.numel() for p in model.parameters()) < most

    train = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([train[i] for i in range(2)])
    assert batch['inputs'][0].shape == (1, 4, 16, 224, 224)
    assert batch['data_samples'][0].tube_mask.sum() == 98
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {k: v.clone() for k, v in model.named_parameters()}
    losses = model.train_step(batch, wrapper)
    assert np.isfinite(losses['loss'].item())
    changed = [
        k for k, v in model.named_parameters() if not torch.equal(before[k], v)
    ]
    assert len(changed) > 0.9 * len(before)

    model.eval()
    test = DATASETS.build(config.test_dataloader.dataset)
    views = 30 if name == 'lcr_k400' else 6
    sample = test[1]
    assert sample['inputs'].shape == (views, 4, 16, 224, 224)
    sample['inputs'] = sample['inputs'][:6]  # K400 has thirty views
    with torch.no_grad():
        result, = model.test_step(pseudo_collate([sample]))
    assert result.pred_score.shape == (config.num_classes, )
    assert result.pred_score.sum().item() == pytest.approx(1, abs=1e-4)
    assert result.gt_label.item() == 1


@pytest.mark.parametrize('name, frames', [('lcr_jester', 12),
                                          ('lcr_k400', 20), ('lcr_ssv2', 9)])
def test_large_config_takes_short_clips(
        name: str, frames: int, make_video: Callable, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, test and stream by its own loaders; the model is narrow."""
    _, lists, folder = LARGE[name]
    sources = []
    for split in ('train', 'val'):
        videos = tmp_path / folder.format(split)
        source = make_video(f'{videos.relative_to(tmp_path)}/1.mp4',
                            num_frames=frames, height=120, width=160)
        line = '1.mp4 3\n'
        if name == 'lcr_jester':
            line = f'1 {write_frames(source, videos / "1")} 3\n'
            source = videos / '1'
        sources.append(source)
        (tmp_path / lists.format(split)).write_text(line)
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    config = read(name)
    (tmp_path / 'classes.txt').write_text('\n'.join(
        map(str, range(config.num_classes))))
    config.merge_from_dict({
        'model.backbone.num_layers': 1,
        'model.backbone.embed_dims': 48,
        'model.backbone.init_cfg': None,
        'model.cls_head.in_channels': 96
    })
    for split in 'train', 'test':
        config[f'{split}_dataloader'].update(
            num_workers=0, persistent_workers=False)

    model = MODELS.build(config.model)
    batch, = Runner.build_dataloader(config.train_dataloader, seed=0)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    losses = model.train_step(batch, wrapper)
    assert np.isfinite(losses['loss'].item())

    model.eval()
    batch, = Runner.build_dataloader(config.test_dataloader)
    assert batch['inputs'][0].shape[2] == config.clip_len
    with torch.no_grad():
        result, = model.test_step(batch)
    assert result.pred_score.sum().item() == pytest.approx(1, abs=1e-4)

    stream = StreamRecognizer(config)
    results = [*stream.stream(sources[0], fps=12 if 'jester' in name else 25)]
    assert 1 < len(results) < frames and not results[-1].is_full
    assert np.isfinite(results[-1].all_scores).all()


def test_single_frame_baseline_repeats_one_frame(
        make_video: Callable, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    make_video('videos/a.mp4', num_frames=20)
    for split in ('train', 'val', 'test'):
        (tmp_path / f'{split}.txt').write_text('a.mp4 3\n')
    names = ''.join(f'{i}\n' for i in range(12))
    (tmp_path / 'classes.txt').write_text(names)
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    config = read('lcr_motion_single_frame')
    for key in ('train', 'val', 'test'):
        dataset = DATASETS.build(config[f'{key}_dataloader'].dataset)
        clip = dataset[0]['inputs'][0]  # (4, T, height, width)
        assert (clip == clip[:, :1]).all()
    # the same everything else
    whole = read('lcr_motion')
    assert config.model == whole.model
    assert config.optim_wrapper == whole.optim_wrapper
    assert config.train_cfg == whole.train_cfg


@pytest.mark.parametrize('name', ['lcr_k400_fsdp', 'lcr_k400_deepspeed'])
def test_strategies_are_mmengine_s(name: str) -> None:
    """They are known, with these arguments; to run them takes GPUs."""
    config = read(name)
    assert config.runner_type in RUNNERS
    arguments = config.strategy.copy()
    strategy = STRATEGIES.get(arguments.pop('type'))
    if strategy is None:
        pytest.skip('this MMEngine has no such strategy yet')
    inspect.signature(strategy).bind(**arguments)
    wrapper = config.optim_wrapper.copy()
    for key in ('constructor', 'paramwise_cfg'):  # not its own
        wrapper.pop(key)
    kind = OPTIM_WRAPPERS.get(wrapper.pop('type'))
    inspect.signature(kind).bind(**wrapper)
    if name == 'lcr_k400_fsdp':  # the other asks for the package
        assert STRATEGIES.build(config.strategy)._is_full_state_dict()
