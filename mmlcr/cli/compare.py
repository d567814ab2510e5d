# Copyright (c) The mmlcr authors. All rights reserved.
"""Compare a config's LCR with small models of MMAction2 on the same clips.

Every run is ``mmlcr train`` and ``mmlcr test`` in a folder of its own, as in
``mmlcr sweep``. Learning rates are chosen on inner splits of the training
clips, which no clip of a test is in.
"""
import argparse
import json
import os
import os.path as osp
import textwrap
from statistics import mean
from typing import Dict, List, Sequence

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmaction.registry import MODELS
from mmlcr.engine import atomic_write, find_config
from mmlcr.models.pretrained import read_weights
from mmlcr_cli.main import shell_command
from .compare_costs import first_clip, measure_costs
from .compare_table import Row, Runs, record, table
from .errors import INPUT_ERRORS, exit_on
from .peers import (
    inner_lists,
    inner_text,
    peer_text,
    start_text,
)
from .sweep import (
    Run,
    RunError,
    check_start,
    execute_all,
    own_start,
    read,
    start_options,
)

LCR = 'lcr'  # the name of the config's own model


# --- plan


def rows_of(peers: Sequence[str], starts: Sequence[str]) -> List[Row]:
    """All rows in the order of the table.

    Args:
        peers (sequence[str]): Names of the peers.
        starts (sequence[str]): ``MODEL=CHECKPOINT`` each.

    Raises:
        ValueError: If a model is not compared, or two rows have one name.
    """
    models = [LCR, *dict.fromkeys(peers)]
    found: Dict[str, List[Row]] = {model: [Row(model)] for model in models}
    for start in dict.fromkeys(starts):
        model, _, path = start.partition('=')
        if model not in found:
            raise ValueError(f'--start {start}: there is no model {model!r} '
                             f'here, there are {", ".join(models)}')
        row = Row(model, path)
        if row.label in [other.label for other in found[model]]:
            raise ValueError(f'--start {start}: there is a row "{row.label}" '
                             'already, rename the checkpoint')
        found[model].append(row)
    return [row for rows in found.values() for row in rows]


def check_inner_lists(args: argparse.Namespace) -> None:
    """Check that there are the inner splits that choose learning rates.

    Raises:
        FileNotFoundError: If a list is missing.
    """
    for fold in args.rate_folds:
        lists = inner_lists(read(args, args.config, fold))
        for path in lists.values():
            if not osp.isfile(path):
                raise FileNotFoundError(
                    f'there is no {path}, to choose learning rates by: run '
                    f'"{shell_command("prepare")} --folds" again, or give one '
                    'of --rates')


def check_starts(args: argparse.Namespace, rows: Sequence[Row],
                 config: Config) -> None:
    """Check that LCR can start from the checkpoints of its rows.

    Args:
        args (argparse.Namespace): Arguments of the command.
        rows (sequence[Row]): All rows.
        config (Config): Config of LCR.

    Raises:
        ValueError: If a checkpoint is missing, or of another model.
    """
    for row in rows:
        if row.model == LCR and row.start:
            options = start_options(config, row.start)
            check_start(read(args, args.config, args.folds[0], options),
                        row.label)


def write_config(args: argparse.Namespace, name: str, text: str) -> str:
    """Write a config into the work dir; return its path."""
    path = osp.join(osp.abspath(args.work_dir), f'{name}.py')
    atomic_write(text.encode(), path)
    return path


def write_peers(args: argparse.Namespace,
                models: Sequence[str]) -> Dict[str, str]:
    """Write the configs of peers; return the paths of all models' configs."""
    path = find_config(args.config)
    config = read(args, path, args.folds[0])
    return {
        name: path if name == LCR else write_config(
            args, name, peer_text(config, path, name))
        for name in models
    }


def row_options(config: Config, row: Row, rate: float) -> List[str]:
    """Return the settings of a row's learning rate and, of LCR, its start.

    Args:
        config (Config): Config of LCR.
        row (Row): The row. What peers start from is in their configs.
        rate (float): Learning rate.
    """
    options = rate_options(config, rate)
    if row.model == LCR and own_start(config) != row.start:
        options += start_options(config, row.start)
    return options


def write_start(args: argparse.Namespace, row: Row, path: str) -> str:
    """Write a config of a peer that starts from a row's checkpoint.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If its backbone is another one.
    """
    assert row.start is not None
    config = read(args, path, args.folds[0])
    init_default_scope(config.get('default_scope', 'mmaction'))
    backbone = MODELS.build(config.model).backbone
    try:
        backbone.load_state_dict(read_weights(row.start, 'backbone.'))
    except RuntimeError as error:
        reason = textwrap.shorten(str(error).partition('\n')[2], 200)
        raise ValueError(f'{row.start} has no backbone of {row.model}: '
                         f'{reason}') from error
    weights = osp.join(osp.abspath(args.work_dir), f'{row.file}.pth')
    torch.save(
        {f'backbone.{name}': w for name, w in backbone.state_dict().items()},
        weights)
    return write_config(args, row.file, start_text(path, weights))


def rate_options(config: Config, rate: float) -> List[str]:
    """Return the settings of a learning rate: OneCycleLR has its own."""
    schedulers = config.get('param_scheduler') or []
    return [f'optim_wrapper.optimizer.lr={rate:g}'] + [
        f'param_scheduler.{number}.eta_max={rate:g}'
        for number, scheduler in enumerate(schedulers)
        if 'eta_max' in scheduler
    ]


# --- choice of learning rates


def best_rate(top1: Dict[float, List[float]]) -> float:
    """Return the rate with the best mean; of equal ones, the lowest."""
    return max(sorted(top1), key=lambda rate: round(mean(top1[rate]), 6))


def choose_rates(args: argparse.Namespace, paths: Dict[Row, str],
                 config: Config) -> Dict[Row, float]:
    """Choose a learning rate for each row on the inner splits.

    Args:
        args (argparse.Namespace): Arguments of the command.
        paths (dict[Row, str]): Config of each row.
        config (Config): Config of LCR.
    """
    rates = sorted({*args.rates})
    if len(rates) == 1:
        return dict.fromkeys(paths, rates[0])
    plan = [(row, rate, fold) for row in paths for rate in rates
            for fold in dict.fromkeys(args.rate_folds)]
    inner = {
        row: write_config(args, f'{row.file}_inner', inner_text(path))
        for row, path in paths.items()
    }
    results = execute_all([
        Run(f'inner {row.label} at {rate:g}', inner[row],
            row_options(config, row, rate), fold, args.seeds[0])
        for row, rate, fold in plan
    ], args)
    top1: Dict[Row, Dict[float, List[float]]] = {}
    for (row, rate, _), result in zip(plan, results):
        top1.setdefault(row, {}).setdefault(rate, []).append(result.top1)
    with open(osp.join(args.work_dir, 'inner.json'), 'w') as file:
        json.dump({row.label: found for row, found in top1.items()},
                  file, indent=1)
    return {row: best_rate(found) for row, found in top1.items()}


def execute_rows(args: argparse.Namespace, paths: Dict[Row, str],
                 rates: Dict[Row, float], config: Config) -> List[Runs]:
    """Train and test each row over folds and seeds, with its rate."""
    rows = [
        Runs(row, rates[row], [
            Run(f'{row.label} at {rates[row]:g}', path,
                row_options(config, row, rates[row]), fold, seed)
            for seed in dict.fromkeys(args.seeds)
            for fold in dict.fromkeys(args.folds)
        ], []) for row, path in paths.items()
    ]
    in_turns = [run for runs in zip(*(row.runs for row in rows))
                for run in runs]
    results = execute_all(in_turns, args)
    for number, row in enumerate(rows):
        row.results.extend(results[number::len(rows)])
    return rows


@exit_on(*INPUT_ERRORS, RunError)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    config = read(args, find_config(args.config), args.folds[0])
    start = own_start(config)
    rows = rows_of(args.peers,
                   [f'{LCR}={start}'] * bool(start) + args.start)
    os.makedirs(args.work_dir, exist_ok=True)
    if args.write_only:
        print('\n'.join(write_peers(args, args.peers).values()))
        return
    configs = write_peers(args, [*dict.fromkeys(row.model for row in rows)])
    if len({*args.rates}) > 1:
        check_inner_lists(args)
    check_starts(args, rows, config)
    paths = {
        row: write_start(args, row, configs[row.model])
        if row.start and row.model != LCR else configs[row.model]
        for row in rows
    }
    rates = choose_rates(args, paths, config)
    done = execute_rows(args, paths, rates, config)
    read_configs = {
        name: read(args, path, args.folds[0])
        for name, path in configs.items()
    }
    costs, edges = measure_costs(
        read_configs, first_clip(config), args.threads)
    text = table(done, costs, edges, args)
    with open(osp.join(args.work_dir, 'table.md'), 'w') as file:
        file.write(text)
    with open(osp.join(args.work_dir, 'results.json'), 'w') as file:
        json.dump(record(done, costs, edges, args), file, indent=1)
    print(text)
