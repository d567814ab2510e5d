# Copyright (c) The mmlcr authors. All rights reserved.
"""The model-zoo entry: files, names and figures are what they say."""
import re
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmaction.registry import MODELS
from mmlcr.deploy import multiply_adds, num_parameters
from mmlcr.streaming import StreamRecognizer

ROOT = Path(__file__).resolve().parents[1]
ENTRY = ROOT / 'configs/recognition/lcr'
WEIGHTS = {path.stem: path
           for path in (ROOT / 'mmlcr/zoo').glob('*.safetensors')}


def entries() -> List[Dict[str, Any]]:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    path, = index['Import']
    return yaml.safe_load((ROOT / path).read_text())['Models']


MODELS_THERE = {entry['Name']: entry for entry in entries()}


# models with other data, launchers or labels, which are not listed
VARIANTS = {
    'lcr_8xb8-u16-50e_jester-videos-rgb',
    'lcr_1xb16-8x2x1-10e_motion-multilabel-rgb',
    'lcr_1xb16-8x0x1-10e_motion-rgb', 'lcr_1xb15-8x0x1-400e_weizmann-rgb',
    'lcr-tiny_vrwkv6-in1k-pre_8xb8-fsdp-16x4x1-50e_kinetics400-rgb',
    'lcr-tiny_vrwkv6-in1k-pre_8xb8-deepspeed-16x4x1-50e_kinetics400-rgb'
}


def test_every_config_is_listed_and_on_the_page() -> None:
    names = {path.stem for path in ENTRY.glob('*.py')}
    assert names == {*MODELS_THERE, *VARIANTS}
    page = (ENTRY / 'README.md').read_text()
    for name in names:
        assert f'[{name}]({name}.py)' in page
    assert not re.search('[A-Z]_[A-Z]+', page)  # a figure that is missing
    for link in re.findall(r'\]\(([^)h][^)]*)\)', page):
        assert (ENTRY / link).exists(), link


def test_short_names_are_names_of_the_configs_in_the_scheme() -> None:
    """One line each, after one that says what the config is for."""
    found = set()
    for path in sorted((ROOT / 'configs').glob('*.py')):
        comment, text = path.read_text().split('\n', 1)
        assert comment.startswith('# ') and len(comment) <= 72, path
        variables: Dict[str, Any] = {}
        exec(text, variables)
        config = ROOT / 'configs' / variables.pop('_base_')
        assert set(variables) == {'__builtins__'}, path
        assert config.parent == ENTRY and config.is_file(), path
        assert Config.fromfile(path).to_dict() == Config.fromfile(
            config).to_dict()
        found.add(config.stem)
    assert found == {path.stem for path in ENTRY.glob('*.py')}


@pytest.mark.parametrize('name', MODELS_THERE)
def test_the_figures_of_an_entry_are_those_of_its_config(name: str) -> None:
    entry = MODELS_THERE[name]
    assert entry['Config'] == f'configs/recognition/lcr/{name}.py'
    config = Config.fromfile(ROOT / entry['Config'])
    batch = re.search(r'x?b?(\d+)xb(\d+)-', name)
    assert batch is not None
    total = int(batch[1]) * int(batch[2])
    assert total == config.auto_scale_lr.base_batch_size
    assert int(batch[2]) == config.train_dataloader.batch_size == entry[
        'Metadata']['Batch Size']
    assert f'-{config.train_cfg.max_epochs}e_' in name
    assert entry['Metadata']['Epochs'] == config.train_cfg.max_epochs
    config.model.backbone.init_cfg = None
    assert num_parameters(MODELS.build(
        config.model)) == entry['Metadata']['Parameters']


def test_only_what_is_there_is_listed() -> None:
    """Weights come with the package, and results with weights."""
    for entry in MODELS_THERE.values():
        weights = entry.get('Weights')
        assert weights in (None, *(f'mmlcr://{name}' for name in WEIGHTS))
        assert ('Results' in entry) == (weights is not None)
        assert not any('Log' in key for key in entry)


def test_multiply_adds_of_the_motion_model() -> None:
    import torch
    entry = MODELS_THERE['lcr_1xb16-8x2x1-10e_motion-rgb']
    model = MODELS.build(Config.fromfile(ROOT / entry['Config']).model).eval()
    counted = multiply_adds(model, torch.randn(1, 1, 4, 8, 48, 48))
    assert counted == entry['Metadata']['FLOPs']


def test_the_package_brings_models() -> None:
    """Small, with its class names, and it loads as any other."""
    assert {*WEIGHTS} == {'lcr_motion', 'lcr_people'}
    for name, classes in (('lcr_motion', 12), ('lcr_people', 256)):
        assert WEIGHTS[name].stat().st_size < 1e6
        config = str(ROOT / f'configs/{name}.py')
        model = MODELS.build(Config.fromfile(config).model)
        load_checkpoint(model, f'mmlcr://{name}', strict=True)
        stream = StreamRecognizer(config, f'mmlcr://{name}')
        assert len(stream.classes) == classes
        assert {'clockwise', 'program 7'} & {*stream.classes}
    with pytest.raises(FileNotFoundError, match='come .*lcr_motion'):
        CheckpointLoader.load_checkpoint('mmlcr://lcr_moton')


@pytest.mark.parametrize('stem_input', ['difference', 'both'])
def test_the_start_takes_other_classes_sizes_and_lengths(
        stem_input: str) -> None:
    """As the configs that "mmlcr prepare" writes use it."""
    import torch
    config = Config.fromfile(ROOT / 'configs/lcr_weizmann.py')
    assert config.model.backbone.init_cfg.checkpoint == 'mmlcr://lcr_people'
    config.model.cls_head.num_classes = 3
    config.model.backbone.stem_input = stem_input
    model = MODELS.build(config.model)
    model.init_weights()
    start = CheckpointLoader.load_checkpoint('mmlcr://lcr_people')
    own = model.backbone.state_dict()
    assert {f'backbone.{name}' for name in own} == {
        name for name in start['state_dict'] if name.startswith('backbone.')}
    assert torch.equal(own['cls_token'], start['state_dict'][
        'backbone.cls_token'])
    for frames, height, width in ((5, 48, 112), (16, 112, 112)):
        clip = torch.rand(2, 4, frames, height, width)
        loss = model.cls_head(model.backbone(clip)).logsumexp(-1).sum()
        loss.backward()
    assert all(parameter.grad is not None
               for parameter in model.backbone.stem.parameters())
