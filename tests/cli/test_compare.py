# Copyright (c) The mmlcr authors. All rights reserved.
"""Peers are models of MMAction2 on the clips of LCR, and nothing else."""
import argparse
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmaction.registry import DATASETS
from mmaction.registry import MODELS as REGISTRY
from mmaction.structures import ActionDataSample
from mmlcr.cli import compare, compare_costs, peers, sweep
from mmlcr.cli.compare_costs import Cost
from mmlcr.cli.compare_table import Row, Runs, record, table
from mmlcr.cli.models import recognizer_inputs
from mmlcr.cli.override_checks import walk
from mmlcr.cli.recipes import Recipe, config_text
from mmlcr.deploy import multiply_adds, recognizer_scores
from mmlcr.engine import SampleSeed
from mmlcr_cli import parse
from mmlcr_cli.commands.compare import PEERS

ROOT = Path(__file__).parents[2]
WEIZMANN, PEOPLE = (f'{ROOT}/configs/lcr_{name}.py'
                    for name in ('weizmann', 'people'))
# float64, of a forward pass of one clip or of ten together
TOLERANCE = 1e-10


def arguments(tmp_path: Path, *words: object,
              config: str = WEIZMANN) -> argparse.Namespace:
    return parse('compare', [config, '--work-dir', str(tmp_path / 'work'),
                             *map(str, words)])


def write(tmp_path: Path, name: str, config: str = WEIZMANN) -> str:
    """The config of a peer, as the command writes it."""
    return compare.write_peers(
        arguments(tmp_path, config=config), [name])[name]


@pytest.fixture
def prepared(tmp_path: Path) -> str:
    """A config of "mmlcr prepare", of other clips than Weizmann's."""
    path = tmp_path / 'data/lcr_mine.py'
    path.parent.mkdir()
    recipe = Recipe(30, 2, (1, 2, 3), False, 64, 64, (0.8, 1.2), 30, 90, 0.5)
    path.write_text(config_text(recipe, ['a', 'b', 'c'], True, False, 9,
                                False, False))
    return str(path)


@pytest.fixture
def data(tmp_path: Path, make_video: Callable) -> Path:
    """Two clips in the lists of a fold, in the classes of Weizmann."""
    make_video('data/videos/a.mp4', num_frames=40)
    make_video('data/videos/b.mp4', num_frames=40, step=5)
    folder = tmp_path / 'data'
    (folder / 'classes.txt').write_text(
        ''.join(f'class {i}\n' for i in range(10)))
    for name in ('train', 'test', 'inner_train', 'inner_val'):
        (folder / f'fold0_{name}.txt').write_text('a.mp4 0\nb.mp4 1\n')
    return folder


def clip_of(model: Any, *shape: int) -> Tensor:
    """A clip of bytes, as the model's data preprocessor takes it."""
    clip = torch.randint(0, 256, (1, 4, *shape), dtype=torch.uint8)
    return recognizer_inputs(model, clip)


# ---- models


def test_peers_are_those_of_the_command() -> None:
    assert (*peers.MODELS, ) == PEERS


@pytest.mark.parametrize('name', PEERS)
@pytest.mark.parametrize('source', ['weizmann', 'people', 'prepared'])
def test_a_peer_trains_at_the_size_of_the_config(
        source: str, name: str, tmp_path: Path, prepared: str) -> None:
    path = dict(weizmann=WEIZMANN, people=PEOPLE, prepared=prepared)[source]
    lcr = Config.fromfile(path)
    config = Config.fromfile(write(tmp_path, name, path))
    head, theirs = config.model.cls_head, lcr.model.cls_head
    assert head.num_classes == lcr.num_classes
    assert head.label_smooth_eps == theirs.label_smooth_eps == 0.1
    assert head.topk == theirs.topk
    model = REGISTRY.build(config.model)
    model.init_weights()
    width, height = lcr.size
    inputs = clip_of(model, lcr.clip_len, height, width)
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 1)]
    batch = model.data_preprocessor(
        dict(inputs=[inputs[0], inputs[0]], data_samples=samples), True)
    losses = model(**batch, mode='loss')
    losses['loss_cls'].backward()
    for key, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), key


@pytest.mark.parametrize('size', [(64, 64), (112, 112), (60, 90)], ids=str)
@pytest.mark.parametrize('name', PEERS)
def test_a_peer_takes_clips_of_other_sizes(name: str, size: Any) -> None:
    config = Config.fromfile(WEIZMANN)
    model = REGISTRY.build(peers.peer_model(config, name)).eval()
    clip = compare_costs.preprocess(model, clip_of(model, 8, *size))
    with torch.no_grad():
        assert recognizer_scores(model, clip).shape == (1, 10)
    assert multiply_adds(model, clip) > 1e7


@pytest.mark.parametrize('name', PEERS)
def test_ten_views_are_averaged(name: str) -> None:
    """Also of TSM, whose views are segments in one row of frames."""
    config = Config.fromfile(WEIZMANN)
    model = REGISTRY.build(peers.peer_model(config, name)).double()
    views = [clip_of(model, 8, 32, 32)[0] for _ in range(10)]
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # statistics of the pass below
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
    batch = compare_costs.preprocess(model, torch.stack(views))
    model(batch, mode='tensor')
    model.eval()

    def predict(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return model.test_step(dict(
                inputs=[inputs], data_samples=[ActionDataSample()]
            ))[0].pred_score

    single = torch.stack([predict(view) for view in views])
    assert single.std(0).max() > 1e-3  # views differ
    torch.testing.assert_close(
        predict(torch.cat(views)), single.mean(0), rtol=0, atol=TOLERANCE)


def test_tsm_shifts_all_frames_of_a_longer_clip(tmp_path: Path) -> None:
    args = arguments(tmp_path, '--cfg-options', 'clip_len=4')
    for name in ('tsm-r18', 'tsm-mobilenetv2'):
        path = compare.write_peers(args, [name])[name]
        model = compare.read(args, path).model
        assert model.backbone.num_segments == model.cls_head.num_segments == 4


def test_labels_of_several_classes_are_refused() -> None:
    config = Config.fromfile(WEIZMANN)
    config.model.cls_head.multi_class = True
    with pytest.raises(ValueError, match='several labels'):
        peers.peer_settings(config, 'c3d')
    with pytest.raises(ValueError, match="no model 'c4d', there are tsm"):
        peers.peer_settings(config, 'c4d')


# ---- configs


@pytest.mark.parametrize('name', ['tsm-r18', 'x3d-s'])
@pytest.mark.parametrize('source', ['weizmann', 'people'])
def test_a_peer_sees_the_clips_of_lcr(
        source: str, name: str, tmp_path: Path, data: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The same frames, crops, flips and colours in each epoch."""
    if source == 'weizmann':
        monkeypatch.setenv('LCR_DATA_ROOT', str(data))
    path = dict(weizmann=WEIZMANN, people=PEOPLE)[source]
    configs = [Config.fromfile(path),
               Config.fromfile(write(tmp_path, name, path))]
    for part in ('train', 'val'):
        of_lcr, of_peer = (
            DATASETS.build(config[f'{part}_dataloader'].dataset)
            for config in configs)
        for sample in (SampleSeed(0, 0, 3), SampleSeed(1, 5, 3)):
            expected = of_lcr[sample]['inputs'][:, :3]
            found = of_peer[sample]['inputs']
            if found.ndim == 4:  # frames of all views
                found = found.unflatten(0, (-1, 8)).transpose(1, 2)
            assert torch.equal(found, expected)


@pytest.mark.parametrize('name', PEERS)
def test_nothing_else_differs(name: str, tmp_path: Path) -> None:
    lcr = Config.fromfile(WEIZMANN)
    config = Config.fromfile(write(tmp_path, name))
    changed = {key for key in {*lcr, *config}
               if lcr.get(key) != config.get(key)}
    assert changed == {'model', *(
        f'{part}_{kind}' for part in peers.PARTS
        for kind in ('pipeline', 'dataloader'))}
    paths = [path for key in changed - {'model'} for path in (
        {*dict(walk(lcr[key]))} ^ {*dict(walk(config[key]))})]
    assert all('pipeline' in path or path[0].isdigit() for path in paths)
    loading = json.dumps([config[key] for key in changed - {'model'}])
    for word in ('EdgeMap', 'TubeMask', 'tube_mask'):
        assert word not in loading


def test_options_have_the_effect_they_have_on_lcr(tmp_path: Path) -> None:
    """Variables of the config are left, and its folds."""
    args = arguments(tmp_path, '--data-root', 'there', '--cfg-options',
                     'max_epochs=7', 'param_scheduler.0.eta_max=0.5')
    path = compare.write_peers(args, ['x3d-s'])['x3d-s']
    config = compare.read(args, path, fold=2)
    assert config.train_cfg.max_epochs == 7
    assert config.param_scheduler[0].total_steps == 7
    assert config.param_scheduler[0].eta_max == 0.5
    assert config.test_dataloader.dataset.ann_file == 'there/fold2_test.txt'


def test_keys_of_other_algorithms_stay() -> None:
    steps = [dict(type='RandomChoice', transforms=[[dict(type='EdgeMap')]]),
             dict(type='PackActionInputs',
                  algorithm_keys=('tube_mask', 'other'))]
    assert peers.without_lcr(steps, 'NCHW') == [
        dict(type='RandomChoice', transforms=[[]]),
        dict(type='PackActionInputs', algorithm_keys=('other', ))]


def test_configs_alone(tmp_path: Path,
                       capsys: pytest.CaptureFixture) -> None:
    """--write-only trains nothing."""
    compare.main(arguments(tmp_path, '--write-only', '--peers', 'c3d'))
    path = tmp_path / 'work/c3d.py'
    assert capsys.readouterr().out.split()[-1] == str(path)
    assert [*path.parent.iterdir()] == [path]


def test_the_configs_own_start_is_a_row(tmp_path: Path) -> None:
    """Beside one from scratch, and maybe one from another checkpoint."""
    args = arguments(tmp_path, '--peers')
    config = compare.read(args, WEIZMANN)
    start = compare.own_start(config)
    assert start == 'mmlcr://lcr_people'
    for checkpoint in (None, start, 'other.pth'):
        options = compare.row_options(config, Row('lcr', checkpoint), 2e-3)
        found = compare.read(args, WEIZMANN, options=options)
        assert compare.own_start(found) == checkpoint
    scratch = compare.read(args, f'{ROOT}/configs/lcr_weizmann_scratch.py')
    found = compare.read(
        args, WEIZMANN, options=compare.row_options(config, Row('lcr'), 2e-3))
    assert found.train_dataloader == scratch.train_dataloader
    # without a variable of that name
    config = compare.read(args, PEOPLE)
    options = compare.row_options(config, Row('lcr', 'other.pth'), 2e-3)
    found = compare.read(args, PEOPLE, options=options)
    assert compare.own_start(found) == 'other.pth'
    assert compare.row_options(config, Row('lcr'), 2e-3) == (
        compare.rate_options(config, 2e-3))
    assert compare.row_options(config, Row('c3d', 'a.pth'), 2e-3) == (
        compare.rate_options(config, 2e-3))


def test_a_peer_starts_from_the_backbone_alone(tmp_path: Path) -> None:
    source = write(tmp_path, 'c3d', PEOPLE)
    model = REGISTRY.build(Config.fromfile(source).model)
    checkpoint = tmp_path / 'people.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    args = arguments(tmp_path, '--peers', 'c3d', '--start',
                     f'c3d={checkpoint}')
    _, scratch, row = compare.rows_of(args.peers, args.start)
    assert (scratch.label, row.label) == ('c3d', 'c3d, from people.pth')
    path = compare.write_start(args, row, write(tmp_path, 'c3d'))
    weights = torch.load(compare.read(args, path).load_from)
    assert {*weights} == {name for name in model.state_dict()
                          if name.startswith('backbone.')}
    for name, weight in weights.items():
        assert torch.equal(weight, model.state_dict()[name])


# ---- learning rates


def test_a_rate_is_set_where_it_counts() -> None:
    config = Config.fromfile(WEIZMANN)
    assert compare.rate_options(config, 5e-4) == [
        'optim_wrapper.optimizer.lr=0.0005', 'param_scheduler.0.eta_max=0.0005'
    ]
    config = Config.fromfile(f'{ROOT}/configs/lcr_motion.py')
    assert compare.rate_options(config, 1e-3) == [
        'optim_wrapper.optimizer.lr=0.001']


def test_the_lowest_of_equal_rates_is_best() -> None:
    assert compare.best_rate({2e-3: [80., 90.], 1e-3: [85., 85.],
                              4e-3: [90., 70.]}) == 1e-3
    assert compare.best_rate({1e-3: [80.], 2e-3: [81.]}) == 2e-3


def test_rates_are_chosen_on_inner_splits(
        tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each model, with the first seed; --rates, --rate-folds."""
    (tmp_path / 'work').mkdir()
    for name in ('inner_train', 'inner_val'):
        (data / f'fold1_{name}.txt').write_text('a.mp4 0\n')
    args = arguments(tmp_path, '--peers', 'c3d', '--rates', '1e-3', '4e-3',
                     '--folds', 2, 0, '--seeds', 5, 6, '--data-root', data)
    assert args.rate_folds == [2]
    args = arguments(tmp_path, '--peers', 'c3d', '--rates', '1e-3', '4e-3',
                     '--folds', 2, '--rate-folds', 0, 1, '--seeds', 5, 6,
                     '--data-root', data)
    compare.check_inner_lists(args)
    found: List[sweep.Run] = []

    def execute_all(runs: List[sweep.Run],
                    args: argparse.Namespace) -> List[sweep.Result]:
        found.extend(runs)
        return [sweep.Result(60. + ('0.004' in run.options[0]) *
                             (1 if 'c3d' in run.variant else -1), 1.)
                for run in runs]

    monkeypatch.setattr(compare, 'execute_all', execute_all)
    configs = compare.write_peers(args, ['lcr', 'c3d'])
    paths = {Row(name): path for name, path in configs.items()}
    rates = compare.choose_rates(args, paths, compare.read(args, WEIZMANN))
    assert rates == {Row('lcr'): 1e-3, Row('c3d'): 4e-3}
    assert len({run.folder for run in found}) == len(found) == 8
    for run in found:
        assert run.seed == 5
        config = compare.read(args, run.config, run.fold)
        lists = [config[f'{part}_dataloader'].dataset.ann_file
                 for part in peers.PARTS]
        assert lists == [f'{data}/fold{run.fold}_inner_{name}.txt'
                         for name in ('train', 'val', 'val')]
    found.clear()
    args.rates = [3e-3]
    assert {*compare.choose_rates(args, paths, Config()).values()} == {3e-3}
    assert not found


def test_runs_of_rows_take_turns(tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """--folds, --seeds, --jobs and --threads; results go to their rows."""
    args = arguments(tmp_path, '--folds', 0, 1, '--seeds', 3, 4, '--jobs', 2,
                     '--threads', 3)
    assert (args.jobs, args.threads) == (2, 3)
    monkeypatch.setattr(
        compare, 'execute_all', lambda runs, args: [
            sweep.Result(run.seed + 10. * run.fold +
                         100. * (run.config == 'b'), None) for run in runs])
    paths = {Row('lcr'): 'a', Row('c3d'): 'b'}
    rows = compare.execute_rows(args, paths, dict.fromkeys(paths, 1e-3),
                                Config.fromfile(WEIZMANN))
    assert [[r.top1 for r in row.results] for row in rows] == [
        [3, 13, 4, 14], [103, 113, 104, 114]]


def test_a_run_with_other_settings_is_not_taken(tmp_path: Path) -> None:
    """Of the same folder; with the same ones it is, without a training."""
    args = arguments(tmp_path)
    run = sweep.Run('c3d', 'no.py', ['a=1'], 0, 2)
    folder = tmp_path / 'work' / run.folder
    folder.mkdir(parents=True)
    (folder / 'sweep.json').write_text('{"top1": 50.0, "options": ["a=1"]}')
    assert sweep.execute(run, args) == sweep.Result(50., None)
    with pytest.raises(sweep.RunError, match='is a run with a=1, not with a='):
        sweep.execute(run._replace(options=['a=2']), args)


# ---- table

TABLE = """\
| model | learning rate | fold 0 | fold 1 | mean | spread of seeds \
| worst run | parameters | multiply-adds | minutes | ms a clip | ms a frame |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- \
| --- |
| lcr | 0.002 | 85.0 | 95.0 | **90.0** | 7.1 | 80.0 | 0.20 M | 0.172 G | 3.5 \
| 9.00 | 3.60 |
| c3d, from a.pth | 0.0005 | 50.0 | 60.0 | **55.0** | 0.0 | 50.0 | 2.94 M \
| 1.132 G |  | 20.00 | 20.00 |
"""


def test_the_table(tmp_path: Path) -> None:
    plan = [(fold, seed) for seed in (0, 1) for fold in (0, 1)]
    runs = [sweep.Run('x', 'x.py', [], fold, seed) for fold, seed in plan]
    results = [sweep.Result(top1, minutes) for top1, minutes in (
        (80., 3.), (90., 3.), (90., 4.), (100., 9.))]
    others = [sweep.Result(top1, None) for top1 in (50., 60.) * 2]
    rows = [Runs(Row('lcr'), 2e-3, runs, results),
            Runs(Row('c3d', 'x/a.pth'), 5e-4, runs, others)]
    costs = dict(lcr=Cost(197_000, 172e6, 9e-3, 3.6e-3),
                 c3d=Cost(2_940_000, 1132e6, 20e-3, 20e-3))
    args = arguments(tmp_path, '--jobs', 2, '--folds', 0, 1)
    text = table(rows, costs, 4e-4, args)
    assert text.startswith(f'{TABLE}\n')
    notes = ' '.join(text[len(TABLE):].split())
    for words in ('of 4 run(s) a model', '(fold 0), from 0.0005, 0.002.',
                  '0.40 ms a clip', 'have no memory: they take a whole clip'):
        assert words in notes
    figures = json.loads(json.dumps(record(rows, costs, 4e-4, args)))
    assert figures['rows'][0]['runs'][3] == dict(
        fold=1, seed=1, top1=100., minutes=9.)
    assert figures['rows'][1]['clip'] == 20e-3


def test_costs_are_measured_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_costs, 'REPEATS', 1)
    config = Config.fromfile(WEIZMANN)
    peer = Config(dict(model=peers.peer_model(config, 'c3d')))
    clip = torch.randint(0, 256, (1, 4, 8, 64, 80), dtype=torch.uint8)
    costs, edges = compare_costs.measure_costs(
        dict(lcr=config, c3d=peer), clip, 1)
    assert 0 < edges < costs['c3d'].clip == costs['c3d'].frame
    assert 0 < costs['lcr'].frame < costs['lcr'].clip
    # of C3DSmall's shapes: halved from stage to stage
    places = np.array([8 * 64 * 80, 8 * 32 * 40, 4 * 16 * 20, 2 * 8 * 10, 20])
    channels = np.array([3, 16, 32, 64, 128, 128])
    products = (27 * places * channels[:-1] * channels[1:]).sum() + 1280
    assert costs['c3d'].multiply_adds == products


# ---- errors

ERRORS: Dict[str, Any] = {
    'no such model': (
        ['--start', 'i3d=a.pth'],
        "no model 'i3d' here, there are lcr, tsm-mobilenetv2"),
    'not compared': (['--peers', 'c3d', '--start', 'x3d-s=a.pth'],
                     "no model 'x3d-s' here, there are lcr, c3d"),
    'two of one name': (['--start', 'lcr=a/b.pth', 'lcr=c/b.pth'],
                        'there is a row "lcr, from b.pth" already'),
    'no such file': (['--rates', '1e-3', '--start', 'lcr=nowhere.pth'],
                     'start lcr, from nowhere.pth: '),
    'another model': (
        ['--rates', '1e-3', '--start', 'c3d=mmlcr://lcr_motion'],
        'mmlcr://lcr_motion has no backbone of c3d: Missing key'),
    'no inner split': (
        ['--data-root', 'nowhere'],
        'there is no nowhere/fold0_inner_train.txt, to choose learning rates '
        'by: run "mmlcr prepare --folds" again, or give one of --rates'),
    'no such option': (['--cfg-options', 'no_such=1'], 'nothing takes'),
}


@pytest.mark.parametrize('name', ERRORS)
def test_an_error_is_one_line(name: str, tmp_path: Path) -> None:
    words, message = ERRORS[name]
    with pytest.raises(SystemExit) as error:
        compare.main(arguments(tmp_path, *words))
    assert message in error.value.code
    assert '\n' not in error.value.code


def test_rendered_clips_have_no_inner_split(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='no inner split .*one of --rates'):
        compare.main(arguments(tmp_path, config=PEOPLE))


# ---- the command


@pytest.mark.slow
@pytest.mark.long
def test_a_comparison_goes_on_and_repeats_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture) -> None:
    """On rendered people; --peers, --start, --work-dir, --cfg-options."""
    monkeypatch.setattr(compare_costs, 'REPEATS', 1)
    monkeypatch.chdir(ROOT)
    model = REGISTRY.build(Config.fromfile(WEIZMANN).model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    lengths = [f'{part}_dataloader.dataset.length=8' for part in peers.PARTS]
    args = arguments(
        tmp_path, '--peers', 'c3d', '--rates', '1e-3', '--start',
        f'lcr={tmp_path}/a.pth', '--cfg-options', 'max_epochs=1',
        'num_classes=4', *lengths, config=PEOPLE)
    compare.main(args)
    text = (tmp_path / 'work/table.md').read_text()
    assert text in capfd.readouterr().out
    names = [line.split(' | ')[0] for line in text.splitlines()[2:5]]
    assert names == ['| lcr', '| lcr, from a.pth', '| c3d']
    log = (tmp_path / 'work/lcr__from_a_pth_at_0_001_seed0/sweep.log')
    assert 'lcr__from_a_pth.pth' in log.read_text()
    figures = json.loads((tmp_path / 'work/results.json').read_text())
    assert all(row['runs'][0]['minutes'] > 0 for row in figures['rows'])

    def call(*args: Any, **kwargs: Any) -> None:
        pytest.fail('a run is repeated')

    monkeypatch.setattr(sweep.subprocess, 'run', call)
    compare.main(args)
    again = json.loads((tmp_path / 'work/results.json').read_text())
    assert [row['runs'] for row in again['rows']] == [
        row['runs'] for row in figures['rows']]
