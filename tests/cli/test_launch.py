# Copyright (c) The mmlcr authors. All rights reserved.
import argparse
import shutil
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest
from mmengine.config import Config

from mmlcr.cli.errors import exit_on
from mmlcr.cli.launch import CONFIG_ERRORS, load_config
from mmlcr.cli.overrides import read_config
from mmlcr.cli.recipes import Recipe, config_text
from mmlcr_cli.arguments import add_config_arguments

ROOT = Path(__file__).parents[2]
# configs, with the base that has their data
CONFIGS = dict(
    motion='motion', weizmann_scratch='weizmann', jester='jester',
    k400_small='kinetics400')
COPIED = ('test_pipeline = __import__("copy").deepcopy(test_pipeline)\n'
          "test_pipeline[1]['type'] = 'Mine'\n")
# what editing changes: a line of one of the bases
EDITS = {
    'max_epochs': ('max_epochs=30', {
        'max_epochs = 10\n': 'max_epochs = 30\n',
        'max_epochs = 400\n': 'max_epochs = 30\n'
    }),
    'clip_len': ('clip_len=4', {
        'clip_len, frame_interval, size = 8,':
        'clip_len, frame_interval, size = 4,',
        'clip_len, frame_interval = 8,': 'clip_len, frame_interval = 4,',
        'clip_len = 16\n': 'clip_len = 4\n',
        'clip_len, frame_interval = 16,': 'clip_len, frame_interval = 4,'
    }),
    'num_classes': ('num_classes=5', {
        'num_classes = 12\n': 'num_classes = 5\n',
        "num_classes = {{'$LCR_NUM_CLASSES:10'}}": 'num_classes = 5',
        'num_classes = 27\n': 'num_classes = 5\n',
        'num_classes = 400\n': 'num_classes = 5\n'
    }),
    'test_pipeline': ('test_pipeline.1.type=Mine', {
        'test_pipeline = val_pipeline\n':
        f'test_pipeline = val_pipeline\n{COPIED}',
        'val_pipeline = test_pipeline\n':
        f'{COPIED}val_pipeline = test_pipeline\n',
        ']\n\ndataset = dict(': f']\n{COPIED}dataset = dict('
    }),
    'flip': ('flip.flip_ratio=0', {'flip_ratio=0.5': 'flip_ratio=0'}),
    'dataset': ('dataset.data_prefix.video=mine', {
        "data_prefix=dict(video=f'{data_root}/videos'))":
        "data_prefix=dict(video='mine'))"
    }),
    'data_root': ('data_root=mine', {
        f"data_root = '{{{{$LCR_DATA_ROOT:data/{name}}}}}'":
        "data_root = 'mine'"
        for name in ('motion', 'weizmann', 'jester', 'kinetics400')
    })
}
MISSING = {('k400_small', 'max_epochs'), ('jester', 'max_epochs'),
           ('jester', 'dataset'), ('k400_small', 'dataset')}


def arguments(config: object, *options: str, **variables: Any
              ) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    words = ['--cfg-options', *options] if options else []
    for name, value in variables.items():
        words += [f'--{name.replace("_", "-")}', str(value)]
    args = parser.parse_args(words)
    args.config = str(config)
    return args


def load(name: str, *options: str, **variables: Any) -> Config:
    """Of a config of the package, or a path."""
    path = ROOT / f'configs/lcr_{name}.py'
    return load_config(
        arguments(path if path.is_file() else name, *options, **variables))


def values(config: Config) -> Dict[str, Any]:
    return dict(config.items())


@pytest.mark.parametrize('name, edit', [(name, edit) for name in CONFIGS
                                        for edit in EDITS
                                        if (name, edit) not in MISSING])
def test_override_is_the_edited_file(name: str, edit: str,
                                     tmp_path: Path) -> None:
    option, lines = EDITS[edit]
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    edited = 0
    path = tmp_path / f'configs/lcr_{name}.py'
    schedule = dict(motion='10e', weizmann_scratch='400e').get(name, '50e')
    for base in f'datasets/{CONFIGS[name]}', f'schedules/adamw_{schedule}':
        changed = tmp_path / f'configs/_base_/{base}.py'
        text = changed.read_text()
        for old, new in lines.items():
            edited += old in text
            text = text.replace(old, new)
        changed.write_text(text)
    assert edited == 1
    expected, found = Config.fromfile(path), load(name, option)
    assert values(found) == values(expected)
    assert values(found) != values(load(name))
    assert found.filename == str(ROOT / f'configs/lcr_{name}.py')
    assert 'override(' not in found.text


def test_place_in_a_list_is_one_in_the_last_list(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    path = (tmp_path / 'configs/recognition/lcr/'
            'lcr_8xb8-u16-50e_jester-videos-rgb.py')
    text = path.read_text()  # whose pipelines are one longer than the base's
    path.write_text(text.replace(
        'train_dataloader = ', 'test_pipeline[4] = dict('
        "type='ThreeCrop', crop_size=96)\ntrain_dataloader = "))
    expected = Config.fromfile(tmp_path / 'configs/lcr_jester_videos.py')
    assert expected.test_dataloader.dataset.pipeline[4].crop_size == 96
    found = load('jester_videos', 'test_pipeline.4.crop_size=96')
    assert values(found) == values(expected)
    assert load('jester_videos', 'train_pipeline=None').train_pipeline is None


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')),
                         ids=lambda path: path.stem)
def test_every_variable_is_followed_to_the_same_config(path: Path) -> None:
    plain = Config.fromfile(path)
    options = {name: plain[name] for name in (
        'data_root', 'fold', 'num_classes', 'clip_len', 'frame_interval',
        'size', 'max_epochs', 'stream_fps', 'vis_backends', 'classes',
        'train_pipeline', 'test_pipeline') if name in plain}
    assert values(read_config(str(path), options)) == values(plain)


def prepared(folder: Path) -> Path:
    recipe = Recipe(
        fps=25 / 3, interval=3, intervals=(2, 3, 4), by_time=False, width=80,
        height=64, aspects=(1., 1.5), epochs=40,
        scratch_epochs=160, gib=0.5)
    path = folder / 'lcr_mine.py'
    path.write_text(
        config_text(
            recipe, ['one', 'two'], folds=True, val=False, clips=9,
            spaces=False, several=False))
    return path


@pytest.mark.parametrize('option, old, new', [
    ('max_epochs=8', 'max_epochs = 40', 'max_epochs = 8'),
    ('num_classes=3', 'num_classes = 2', 'num_classes = 3'),
    ('frame_interval=2', 'clip_len, frame_interval = 8, 3',
     'clip_len, frame_interval = 8, 2'),
    ('size=(40,32)', 'size = (80, 64)', 'size = (40, 32)'),
    ('sample_test.frame_interval=1', 'frame_interval=frame_interval, num',
     'frame_interval=1, num'),
    ('flip.flip_ratio=0', 'flip_ratio=0.5', 'flip_ratio=0'),
    ('data_root=there', "data_root = '{{ fileDirname }}'",
     "data_root = 'there'"),
])
def test_override_of_a_prepared_config(option: str, old: str, new: str,
                                       tmp_path: Path) -> None:
    path = prepared(tmp_path)
    found = load(str(path), option)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert values(found) == values(Config.fromfile(path))
    assert found != load(str(tmp_path / 'lcr_mine.py'), fold=1)


def test_prepared_config_has_folds_and_a_folder(tmp_path: Path) -> None:
    path = str(prepared(tmp_path))
    found = load(path, fold=2).train_dataloader.dataset.ann_file
    assert found == f'{tmp_path}/fold2_train.txt'
    with pytest.raises(ValueError, match='--data-root there changes nothing: '
                       'lcr_mine.py does not read LCR_DATA_ROOT; '
                       '--cfg-options data_root=there would count'):
        load(path, data_root='there')


@pytest.mark.parametrize('name, option, message', [
    ('k400_small', 'max_epochs=1', 'train_cfg.max_epochs would count'),
    ('k400_small', 'max_epoch=1', 'train_cfg.max_epochs would count'),
    ('motion', 'max_epoch=1', 'did you mean max_epochs?'),
    ('motion', 'tran_dataloader.batch_size=4',
     'did you mean train_dataloader?'),
    ('motion', 'train_dataloader.batchsize=4',
     'did you mean train_dataloader.batch_size?'),
    ('motion', 'train_dataloader.dataset.bad_clip=skip',
     'did you mean train_dataloader.dataset.bad_clips?'),
    ('motion', 'model.backbone.embed_dim=8',
     'did you mean model.backbone.embed_dims?'),
    ('motion', 'model.cls_heads.num_classes=8',
     'did you mean model.cls_head?'),
    ('motion', 'optim_wrapper.accumulate_counts=2',
     'did you mean optim_wrapper.accumulative_counts?'),
    ('motion', 'optim_wrapper.optimizer.weigth_decay=0.1',
     'did you mean optim_wrapper.optimizer.weight_decay?'),
    ('motion', 'default_hooks.checkpiont.interval=4',
     'did you mean default_hooks.checkpoint?'),
    ('motion', 'default_hooks.checkpoint.interval_=4',
     'did you mean default_hooks.checkpoint.interval?'),
    ('motion', 'train_cfg.max_epoch=4', 'did you mean train_cfg.max_epochs?'),
    ('motion', 'env_cfg.cudnn_bench=True',
     'did you mean env_cfg.cudnn_benchmark?'),
    ('motion', 'auto_scale_lr.enabled=True',
     'did you mean auto_scale_lr.enable?'),
    ('motion', 'test_pipeline.1.frame_intervals=1',
     'did you mean test_pipeline.1.frame_interval?'),
    ('motion', 'train_cfg.seed_draw=1',
     'did you mean train_cfg.seed_draws?'),
    ('motion', 'dataset.flavour=1', 'nothing takes flavour in dataset'),
    ('motion', 'flip_label_map.0=5', 'flip_label_map are not text'),
    ('motion', 'train_pipeline.20.x=1', 'train_pipeline is a list of 9'),
    ('motion', 'train_cfg.max_epochs.x=1', 'train_cfg.max_epochs is 10'),
    ('motion', 'max_epochs=few', 'cannot be read with max_epochs=few'),
])
def test_override_without_effect_is_refused(name: str, option: str,
                                            message: str) -> None:
    with pytest.raises(ValueError) as error:
        load(name, option)
    assert message in str(error.value) and '\n' not in str(error.value)
    assert option in str(error.value)


@pytest.mark.parametrize('option', [
    'train_dataloader.drop_last=True', 'train_dataloader.pin_memory=True',
    'train_dataloader.num_batch_per_epoch=3',
    'train_dataloader.sampler.seed=4',
    'train_dataloader.dataset.bad_clips=skip',
    'train_dataloader.dataset.short_clips=stop',
    'train_dataloader.dataset.indices=4',
    'optim_wrapper.accumulative_counts=2',
    'optim_wrapper.type=AmpOptimWrapper',
    'optim_wrapper.optimizer.amsgrad=True',
    'optim_wrapper.paramwise_cfg.bypass_duplicate=True',
    'param_scheduler.1.verbose=True', 'model.backbone.cell_clip=5',
    'model.backbone.with_cp=True', 'model.backbone.init_cfg=None',
    'model.cls_head.average_clips=prob', 'model.test_cfg.blending=None',
    'env_cfg.cudnn_benchmark=True', 'resume=True', 'load_from=x',
    'randomness.seed=1', 'work_dir=x', 'experiment_name=x',
    'test_cfg.fp16=True', 'train_cfg.val_begin=3', 'compile=True',
    'compile.backend=eager', 'find_unused_parameters=True',
    'auto_scale_lr.enable=True', 'stream_fps=3',
    'default_hooks.checkpoint.by_epoch=False',
    'default_hooks.checkpoint.save_last=False',
    'default_hooks.ema.type=EMAHook',
    'model_wrapper_cfg.type=MMDistributedDataParallel',
    'model_wrapper_cfg.find_unused_parameters=True', 'visualizer.save_dir=x',
    'custom_hooks=[]', 'log_processor.mean_pattern=x', 'train_pipeline=None',
    'test_evaluator.metric_list=[acc]', 'test_pipeline.1.out_of_bound_opt=loop'
])
def test_key_that_a_constructor_takes(option: str) -> None:
    found = load('motion', option)
    key, value = option.split('=')
    for name in key.split('.'):
        found = found[int(name) if name.isdigit() else name]
    assert str(found) == value.replace('[acc]', "['acc']")


@pytest.mark.parametrize('option', ['max_epochs=10', 'data_root=data/motion',
                                    'test_pipeline.1.frame_interval=2'])
def test_value_that_is_there_already(option: str) -> None:
    assert values(load('motion', option)) == values(load('motion'))


def test_key_of_an_unknown_class_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text(
        "_base_ = '" + str(ROOT / 'configs/lcr_motion.py') + "'\n"
        "model = dict(backbone=dict(_delete_=True, type='NotImported'))\n")
    found = load(str(path), 'model.backbone.whatever=3')
    assert found.model.backbone.whatever == 3
    found = load('motion', 'runner_type=NotImported', 'whatever=3')
    assert found.whatever == 3


def test_variable_of_a_base_is_followed_from_the_child(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text(
        'max_epochs = 9\nsteps = [max_epochs // 3]\n'
        'train_cfg = dict(max_epochs=max_epochs)\n')
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = ['base.py']\n"
                    "work_dir = '{{ fileDirname }}'\n"
                    "if True:\n    experiment_name = "
                    "'{{ fileBasenameNoExtension }}'\n"
                    'randomness = dict(seed={{_base_.max_epochs}})\n'
                    'val_cfg = dict(\n    fp16=_base_.max_epochs > 5)\n'
                    "param_scheduler = [dict(end=s) for s in _base_.steps]\n")
    found = load(str(path), 'max_epochs=3')
    assert found.train_cfg.max_epochs == found.randomness.seed == 3
    assert found.val_cfg.fp16 is False and found.param_scheduler[0].end == 1
    assert found.work_dir == str(tmp_path)
    assert found.experiment_name == 'mine'


def test_config_as_written_by_a_training_names_what_counts(
        tmp_path: Path) -> None:
    path = tmp_path / 'lcr_motion.py'
    path.write_text(''.join(  # the copies are no longer made from variables
        f'{key} = {value!r}\n'
        for key, value in load('motion')._cfg_dict.to_dict().items()))
    with pytest.raises(ValueError, match='train_cfg.max_epochs would count'):
        load(str(path), 'max_epochs=30')
    there = 'test_dataloader.dataset.pipeline.1.frame_interval'
    with pytest.raises(ValueError, match=f'{there} also counts'):
        load(str(path), 'test_pipeline.1.frame_interval=1')
    load(str(path), 'test_pipeline.1.frame_interval=1', f'{there}=1')
    load(str(path), f'{there}=1')


@pytest.mark.parametrize('name, variables, message', [
    ('motion', dict(fold=3), '--fold 3 changes nothing: lcr_motion.py does '
     'not read LCR_FOLD'),
    ('motion', dict(num_classes=5), '--num-classes 5 changes nothing: '
     'lcr_motion.py does not read LCR_NUM_CLASSES; --cfg-options '
     'num_classes=5 would count'),
    ('jester', dict(num_classes=5), '--cfg-options num_classes=5 would count'),
    ('k400_small', dict(fold=0), 'lcr_k400_small.py does not read LCR_FOLD'),
])
def test_option_that_the_config_does_not_read(
        name: str, variables: Dict[str, Any], message: str) -> None:
    for options in (), ('train_dataloader.batch_size=3', ):
        with pytest.raises(ValueError) as error:
            load(name, *options, **variables)
        assert str(error.value).endswith(message)


def test_options_that_the_config_reads(monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    for name in ('LCR_DATA_ROOT', 'LCR_FOLD', 'LCR_NUM_CLASSES'):
        monkeypatch.delenv(name, raising=False)
    found = load('weizmann', fold=2, num_classes=5, data_root='there')
    assert found.train_dataloader.dataset.ann_file == 'there/fold2_train.txt'
    assert found.model.cls_head.num_classes == 5
    assert values(load('weizmann', num_classes=10, fold=0)) == values(
        load('weizmann'))  # which does not remember those from before
    followed = load('weizmann', 'max_epochs=8', num_classes=5)
    assert followed.model.cls_head.num_classes == 5
    assert followed.train_cfg.max_epochs == 8


def test_variable_of_the_shell_is_warned_of(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LCR_FOLD', '1')
    with pytest.warns(UserWarning, match='LCR_FOLD is set, and .*lcr_motion'):
        load('motion')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load('weizmann')


@pytest.mark.parametrize('call', [
    lambda: load('motion', fold=3), lambda: load('motion', 'typo=3'),
    lambda: load('no_such_config')
], ids=['variable', 'key', 'config'])
def test_tool_ends_with_a_line(call: Callable) -> None:
    with pytest.raises(SystemExit) as end, exit_on(*CONFIG_ERRORS):
        call()
    output: Tuple[str, ...] = str(end.value.code).splitlines()
    assert len(output) == 1 and 'Error: ' in output[0]
