# Copyright (c) The mmlcr authors. All rights reserved.
"""MMEngine's checkpoints load, and foreign code in one is not run."""
import builtins
import importlib
import os
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner

from mmaction.structures import ActionDataSample
from mmlcr.compat import localizers, safe_globals


class Reduce:
    """Pickles as a call of a function with a state to set afterwards."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> tuple:
        return self.how

    def __call__(self) -> None:
        """Make the object callable, as pickle requires."""


def buffer_with(**state: Any) -> HistoryBuffer:
    """A log buffer of one number, with the given state."""
    buffer = HistoryBuffer([1.], [1])
    buffer.__dict__.update(state)
    return buffer


def save(value: Any, path: Path) -> Path:
    """A checkpoint with ``value`` besides its weights."""
    torch.save(dict(state_dict=dict(a=torch.ones(2)), meta=value), path)
    return path


# ---- checkpoints that are to load


class Clips(torch.utils.data.Dataset):
    """Four labelled clips of noise."""
    metainfo = dict(classes=('bend', 'jack', 'wave'))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        frames = torch.randint(
            0, 256, (1, 4, 2, 8, 8), dtype=torch.uint8,
            generator=torch.Generator().manual_seed(index))
        sample = ActionDataSample().set_gt_label(index % 3)
        return dict(inputs=frames, data_samples=sample)


def build_runner(work_dir: Path,
                 scheduler: dict,
                 save_best: Optional[str],
                 resume: bool = False) -> Runner:
    """A runner such as the configs build, of a tiny model."""
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=Clips(),
        collate_fn=dict(type='pseudo_collate'))
    return Runner(
        model=dict(
            type='LCRRecognizer',
            backbone=dict(
                type='LCR',
                embed_dims=8,
                num_heads=1,
                num_layers=1,
                patch_size=4),
            cls_head=dict(
                type='LCRHead', num_classes=3, in_channels=16, topk=(1, )),
            data_preprocessor=dict(
                type='ActionDataPreprocessor',
                mean=[123.675, 116.28, 103.53, 0.],
                std=[58.395, 57.12, 57.375, 255.],
                format_shape='NCTHW')),
        work_dir=str(work_dir),
        train_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=True)),
        val_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=2 if resume else 1),
        val_cfg=dict(),
        val_evaluator=dict(
            type='AccMetric',
            metric_options=dict(top_k_accuracy=dict(topk=(1, )))),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=scheduler,
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', save_best=save_best)),
        default_scope='mmaction',
        resume=resume,
        experiment_name=f'compat_{work_dir.name}_{resume}')


COSINE = dict(type='CosineAnnealingLR', T_max=4)
ONE_CYCLE = dict(
    type='OneCycleLR', eta_max=1e-3, total_steps=4, convert_to_iter_based=True)
LINEAR_CYCLE = dict(**ONE_CYCLE, anneal_strategy='linear')


@pytest.mark.parametrize(
    'scheduler, save_best',
    [(COSINE, None), (COSINE, 'acc/top1'), (ONE_CYCLE, None),
     (LINEAR_CYCLE, None)],
    ids=['cosine', 'cosine-best', 'one-cycle', 'one-cycle-linear'])
def test_runner_resumes_its_own_checkpoint(scheduler: dict,
                                           save_best: Optional[str],
                                           tmp_path: Path) -> None:
    """Train, validate, save the best, and read it with weights_only."""
    build_runner(tmp_path, scheduler, save_best).train()
    paths = list(tmp_path.glob('*.pth'))
    assert len(paths) == (2 if save_best else 1)
    for path in paths:
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint['meta']['epoch'] == 1
        assert checkpoint['message_hub']['log_scalars']
    runner = build_runner(tmp_path, scheduler, save_best, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 4)
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 4 and np.isfinite(losses).all()
    best = runner.message_hub.runtime_info.get('best_ckpt')
    assert (best is None) == (save_best is None)


def test_history_buffer_is_what_it_was(tmp_path: Path) -> None:
    hub = MessageHub.get_instance('test_history_buffer')
    for value in (3., 1., 2.):
        hub.update_scalar('loss', value)
        hub.update_scalar('count', int(value))
        hub.update_scalar('tensor', torch.tensor(value))
    hub.update_info('epoch', 7)
    path = save(hub.state_dict(), tmp_path / 'checkpoint.pth')
    loaded = torch.load(path, weights_only=True)['meta']
    assert loaded['runtime_info']['epoch'] == 7
    for name in ('loss', 'count', 'tensor'):
        buffer = loaded['log_scalars'][name]
        assert type(buffer) is HistoryBuffer
        assert buffer.data[0].tolist() == [3, 1, 2]
        assert buffer.data[1].tolist() == [1, 1, 1]
        for statistic, expected in (('min', 1), ('max', 3), ('current', 2),
                                    ('mean', 2)):
            assert getattr(buffer, statistic)() == expected
            assert buffer.statistics(statistic) == expected
        buffer.update(6)
        assert buffer.mean() == 3 and buffer.data[0].tolist() == [3, 1, 2, 6]
        again = torch.load(
            save(buffer, tmp_path / 'again.pth'), weights_only=True)['meta']
        assert again.data[0].tolist() == [3, 1, 2, 6]


@pytest.mark.parametrize('dtype', ['float64', 'float32', 'int64', 'int32'])
def test_arrays_of_numbers_are_what_they_were(dtype: str,
                                              tmp_path: Path) -> None:
    array = np.arange(-2, 3).astype(dtype)
    path = save(array, tmp_path / 'checkpoint.pth')
    loaded = torch.load(path, weights_only=True)['meta']
    assert loaded.dtype == array.dtype
    assert np.array_equal(loaded, array)


# ---- checkpoints that are to be refused


class Foreign:
    """A class of the user's, or of an attacker's."""


def os_system(command: str) -> Any:
    return Reduce(os.system, (command, ))


def evaluated(command: str) -> Any:
    return Reduce(eval, (f'__import__("os").system({command!r})', ))


def executed(command: str) -> Any:
    return Reduce(exec, (f'import os; os.system({command!r})', ))


def got_by_getattr(command: str) -> Any:
    module = Reduce(importlib.import_module, ('os', ))
    return Reduce(Reduce(getattr, (module, 'system')), (command, ))


def got_from_globals(command: str) -> Any:
    """``HistoryBuffer.__init__.__globals__['__builtins__']['eval']``."""
    scope = Reduce(
        getattr, (Reduce(getattr, (HistoryBuffer, '__init__')), '__globals__'))
    known = Reduce(Reduce(getattr, (scope, 'get')), ('__builtins__', ))
    call = Reduce(Reduce(getattr, (known, 'get')), ('eval', ))
    return Reduce(call, (f'__import__("os").system({command!r})', ))


def nested_in_a_buffer(command: str) -> Any:
    return Reduce(HistoryBuffer, ([os_system(command)], [1]))


def in_the_state_of_a_buffer(command: str) -> Any:
    return buffer_with(_log_history=[dict(a=(os_system(command), ))])


def a_statistic(command: str) -> Any:
    return buffer_with(_statistics_methods=dict(mean=os.system))


def in_an_array(command: str) -> Any:
    array = np.empty(1, dtype=object)
    array[0] = os_system(command)
    return array


def in_an_array_shape(command: str) -> Any:
    return Reduce(np.ndarray, (os_system(command), 'f8'))


def by_subprocess(command: str) -> Any:
    import subprocess
    return Reduce(subprocess.check_call, (['sh', '-c', command], ))


def by_the_plugin(command: str) -> Any:
    """Use an allowed name to reach other modules."""
    return Reduce(
        Reduce(getattr, (Reduce(importlib.import_module,
                                ('mmlcr.compat.localizers', )), 'sys')), ())


ATTACKS = [
    os_system, evaluated, executed, got_by_getattr, got_from_globals,
    nested_in_a_buffer, in_the_state_of_a_buffer, in_an_array,
    in_an_array_shape, by_subprocess
]


@pytest.mark.parametrize('attack', ATTACKS, ids=lambda a: a.__name__)
def test_foreign_code_is_refused_and_not_run(attack: Callable,
                                             tmp_path: Path) -> None:
    marker = tmp_path / 'marker'
    payload = attack(f'touch {marker}')
    path = save(payload, tmp_path / 'checkpoint.pth')
    with pytest.raises((RuntimeError, torch.serialization.pickle
                        .UnpicklingError)):
        torch.load(path, weights_only=True)
    assert not marker.exists()
    try:  # it is an attack: without the gate it does run
        torch.load(path, weights_only=False)
    except (TypeError, ValueError):
        pass
    assert marker.exists()


@pytest.mark.parametrize(
    'value',
    [
        Foreign(), Foreign, os.system, builtins.eval, print, open,
        localizers.repair_localizers, importlib.import_module,
        a_statistic(''),
        by_the_plugin(''),
        Path('/'), np.array(['a']),
        np.array([Foreign()])
    ],
    ids=[
        'instance', 'class', 'os.system', 'eval', 'print', 'open', 'mmlcr',
        'import', 'statistic', 'module', 'path', 'strings', 'objects'
    ])
def test_foreign_values_are_refused(value: Any, tmp_path: Path) -> None:
    path = save(value, tmp_path / 'checkpoint.pth')
    with pytest.raises((RuntimeError, torch.serialization.pickle
                        .UnpicklingError)):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    'owner, name',
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, '__class__'),
        (HistoryBuffer, '__subclasses__'),
        (HistoryBuffer, '__dict__'),
        (HistoryBuffer, 'register_statistics'),
        (HistoryBuffer, '_statistics_methods'),
        (HistoryBuffer, 'update'),
        (HistoryBuffer([1], [1]), 'mean'),
        (np.ndarray, 'tofile'),
        (np.ndarray, 'mean'),
        (torch.Tensor, 'numpy'),
        ('text', 'format'),
    ],
    ids=lambda value: getattr(value, '__name__', type(value).__name__)
    if not isinstance(value, str) else value)
def test_getattr_gives_statistics_alone(owner: Any, name: str,
                                        tmp_path: Path) -> None:
    path = save(Reduce(getattr, (owner, name)), tmp_path / 'checkpoint.pth')
    with pytest.raises(RuntimeError, match=f'refused.*{name}'):
        torch.load(path, weights_only=True)


def test_what_getattr_gives_is_not_called(tmp_path: Path) -> None:
    path = save(
        Reduce(Reduce(getattr, (HistoryBuffer, 'mean')),
               (HistoryBuffer([1], [1]), )), tmp_path / 'checkpoint.pth')
    with pytest.raises(torch.serialization.pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_loading_leaves_history_buffer_as_it_was(tmp_path: Path) -> None:
    """The statistics are an attribute of the class, shared by all."""
    before = dict(HistoryBuffer._statistics_methods)
    for statistics in (dict(mean=bytearray), dict(mean=np.ndarray),
                       dict(mean=7), dict(other=set)):
        path = save(
            buffer_with(_statistics_methods=statistics),
            tmp_path / 'checkpoint.pth')
        try:
            torch.load(path, weights_only=True)
        except (RuntimeError, torch.serialization.pickle.UnpicklingError):
            pass  # to refuse it is as good
        after = dict(HistoryBuffer._statistics_methods)
        HistoryBuffer._statistics_methods.clear()
        HistoryBuffer._statistics_methods.update(before)
        assert after == before


def crafted_subarray() -> Any:
    """A dtype that calls itself float64 and holds objects."""
    objects = Reduce(np.dtype, ('O', ))
    dtype = Reduce(np.dtype, ('f8', False, True),
                   (3, '<', (objects, (1, )), None, None, -1, -1, 0))
    return Reduce(np.ndarray, ((4, ), dtype, bytearray(b'A' * 32)))


def crafted_fields() -> Any:
    """A dtype with a field far outside of its items."""
    field = Reduce(np.dtype, ('f8', ))
    dtype = Reduce(
        np.dtype, ('f8', False, True),
        (3, '<', None, ('a', ), dict(a=(field, 2**30)), -1, -1, 0))
    return Reduce(np.ndarray, ((4, ), dtype))


def crafted_flags() -> Any:
    """Numbers whose dtype says that they are references."""
    dtype = Reduce(np.dtype, ('f8', False, True),
                   (3, '<', None, None, None, -1, -1, 63))
    return Reduce(np.ndarray, ((4, ), dtype))


def object_array() -> Any:
    """Objects at addresses of the attacker's choice."""
    return Reduce(np.ndarray, ((4, ), 'O', bytearray(b'A' * 32)))


CRAFTED = (crafted_subarray, crafted_fields, crafted_flags, object_array)


@pytest.mark.parametrize('holder', ['alone', 'called', 'state'])
def test_crafted_arrays_are_refused(holder: str, tmp_path: Path,
                                    run_python: Callable) -> None:
    """Run in a separate process: numpy trusts the dtypes that it unpickles.

    With a dtype of the attacker's making it takes bytes of the checkpoint
    for the addresses of objects.
    """
    for crafted in CRAFTED:
        array = crafted()
        held = dict(
            alone=array,
            called=Reduce(HistoryBuffer, (array, array)),
            state=buffer_with(_log_history=array, _count_history=array))
        save(held[holder], tmp_path / f'{crafted.__name__}.pth')
    run = run_python(
        'import importlib.util, pickle, sys, torch\n'
        'spec = importlib.util.spec_from_file_location("c", sys.argv[1])\n'
        'compat = importlib.util.module_from_spec(spec)\n'
        'spec.loader.exec_module(compat)\n'
        'compat.allow_mmengine_checkpoints()\n'
        'for path in sys.argv[2:]:\n'
        '    try:\n'
        '        torch.load(path, weights_only=True)\n'
        '        print("loaded", path, flush=True)\n'
        '    except (RuntimeError, pickle.UnpicklingError) as error:\n'
        '        assert "get_clear_loop" not in str(error)\n'
        '        print("refused", flush=True)\n', safe_globals.__file__,
        *(tmp_path / f'{crafted.__name__}.pth' for crafted in CRAFTED))
    assert run.stdout.split() == ['refused'] * len(CRAFTED)
    assert run.returncode == 0, run.stderr[-500:]


NUMBER_TYPES = {
    'numpy.dtypes.Float64DType', 'numpy.dtypes.Float32DType',
    'numpy.dtypes.Int64DType', 'numpy.dtypes.Int32DType'
}
# before numpy 1.25
OLD_NUMBER_TYPES = {
    'numpy.dtype[float64]', 'numpy.dtype[float32]', 'numpy.dtype[int64]',
    'numpy.dtype[int32]'
}


def test_repair_allows_little_more_than_torch_does(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is added here needs a reason why it cannot run code."""
    names, added = set(), []
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', added.extend)
    safe_globals.allow_mmengine_checkpoints()
    for entry in added:
        value, name = entry if isinstance(entry, tuple) else (entry, None)
        names.add(name or f'{value.__module__}.{value.__qualname__}')
    assert names == {
        'builtins.getattr',  # a stand-in, see the tests above
        'mmengine.logging.history_buffer.HistoryBuffer',
        'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler',
        'numpy.ndarray',
        'numpy.dtype',
        'numpy.core.multiarray._reconstruct',
        'numpy._core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy._core.multiarray.scalar',
        *(NUMBER_TYPES if hasattr(np, 'dtypes') else OLD_NUMBER_TYPES),
    }
