# Copyright (c) The mmlcr authors. All rights reserved.
"""Class names: the checkpoint's, else the config's, else numbers."""
import json
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import save_file

from mmaction.apis import init_recognizer
from mmlcr.datasets.class_names import class_names
from mmlcr.engine import BrokenFileError, names_in, read_checkpoint
from mmlcr.streaming import StreamRecognizer

NAMES = tuple(f'motion {letter}' for letter in 'abcdefghijkl')


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A config with twelve classes and no file of their names."""
    monkeypatch.setenv('LCR_DATA_ROOT', str(tmp_path))
    root = Path(__file__).resolve().parents[2]
    return Config.fromfile(root / 'configs/lcr_motion.py')


@pytest.fixture
def save(config: Config, tmp_path: Path) -> Callable[[Any], str]:
    """Write a checkpoint of the config's model with these class names."""
    model = init_recognizer(config, device='cpu')

    def write(names: Any) -> str:
        path = tmp_path / 'model.pth'
        meta = dict(epoch=1, dataset_meta=dict(classes=names))
        torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
        return str(path)

    return write


def test_checkpoint_then_config_then_numbers(config: Config, save: Callable,
                                             tmp_path: Path) -> None:
    numbers = tuple(f'class {i}' for i in range(12))
    assert class_names(config) == numbers
    assert class_names(config, save(())) == numbers
    others = [f'{name} of the config' for name in NAMES]
    (tmp_path / 'classes.txt').write_text('\n'.join(others) + '\n')
    assert class_names(config, save(None)) == tuple(others)
    assert class_names(config, save(NAMES)) == NAMES
    text = '\ufeff' + ' \r\n'.join(others) + '\r\n'
    (tmp_path / 'classes.txt').write_bytes(text.encode())  # by an editor
    assert class_names(config) == tuple(others)
    config.test_dataloader.dataset.classes = others
    assert class_names(config) == tuple(others)


def test_stream_has_the_names_of_its_checkpoint(config: Config, save: Callable,
                                                make_frames: Callable
                                                ) -> None:
    stream = StreamRecognizer(config, save(NAMES), topk=12)
    result = stream.step(make_frames(num_frames=1)[0])
    assert sorted(result.labels) == list(NAMES)
    best = result.all_scores.argmax()
    assert result.labels[0] == NAMES[best]


@pytest.mark.parametrize('where', ['checkpoint', 'config'])
def test_other_number_than_the_head(where: str, config: Config,
                                    save: Callable, tmp_path: Path) -> None:
    path = None
    if where == 'checkpoint':
        path = save(NAMES[:4])
        with pytest.raises(ValueError, match='model.pth: 4 class names, .*12'):
            StreamRecognizer(config, path)
    else:
        (tmp_path / 'classes.txt').write_text('a\nb\n')
    with pytest.raises(ValueError, match=': [42] class names, and .* 12 cl'):
        class_names(config, path)


def test_a_file_of_names_that_is_no_text_is_refused(config: Config,
                                                    tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_bytes(b'a\n\xff\n')
    with pytest.raises(ValueError, match='classes.txt, line 2: not UTF-8'):
        class_names(config)


@pytest.mark.parametrize('names', [
    {'a': 1}, ['a', 3], ['a', 'b\x1b[31m'], ['a', ''], ['a', 'x' * 1001],
    'abcdefghijkl'
], ids=['dict', 'number', 'escape', 'empty', 'long', 'text'])
def test_names_in_a_checkpoint_must_be_printable(names: Any, config: Config,
                                                 save: Callable) -> None:
    with pytest.raises(BrokenFileError, match='model.pth: its class names'):
        class_names(config, save(names))


@pytest.mark.parametrize('header', [
    '["a", "b"]', '[', '[' * 100_000, '{"a": 1}', '["\\u001b"]'
], ids=['good', 'cut', 'deep', 'dict', 'escape'])
def test_names_in_the_header_of_safetensors(header: str,
                                            tmp_path: Path) -> None:
    path = str(tmp_path / 'model.safetensors')
    save_file(dict(a=torch.ones(2)), path, dict(classes=header))
    if header == json.dumps(['a', 'b']):
        found = read_checkpoint(path)
        assert names_in(found, path) == ('a', 'b')
        assert found['state_dict']['a'].tolist() == [1, 1]
        return
    with pytest.raises(BrokenFileError, match='model.safetensors: '):
        names_in(read_checkpoint(path), path)
