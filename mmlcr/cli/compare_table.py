# Copyright (c) The mmlcr authors. All rights reserved.
"""The table of a comparison, and all of its figures."""
import argparse
import os.path as osp
import textwrap
from statistics import median
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from .compare_costs import Cost
from .sweep import Result, Run, columns, markdown_table, summarize


class Row(NamedTuple):
    """A model, and what it starts from."""
    model: str
    start: Optional[str] = None  # checkpoint of the backbone; None: scratch

    @property
    def label(self) -> str:
        """Its name in the table."""
        if self.start is None:
            return self.model
        return f'{self.model}, from {osp.basename(self.start)}'

    @property
    def file(self) -> str:
        """The name of its files."""
        return ''.join(
            c if c.isalnum() or c == '-' else '_' for c in self.label)


class Runs(NamedTuple):
    """A row's learning rate, and its runs with it."""
    row: Row
    rate: float
    runs: List[Run]
    results: List[Result]


def table(rows: Sequence[Runs], costs: Dict[str, Cost], edges: float,
          args: argparse.Namespace) -> str:
    """Format the comparison as a Markdown table, and notes below it.

    Args:
        rows (sequence[Runs]): The runs of each row.
        costs (dict[str, Cost]): Costs by the names of models.
        edges (float): Seconds for the edge maps of a clip.
        args (argparse.Namespace): Arguments of the command.
    """
    lines = []
    for row, rate, runs, results in rows:
        cost, summary = costs[row.model], summarize(runs, results)
        minutes = [r.minutes for r in results if r.minutes is not None]
        lines.append([
            row.label, f'{rate:g}', *summary.cells, f'{summary.worst:.1f}',
            f'{cost.parameters / 1e6:.2f} M',
            f'{cost.multiply_adds / 1e9:.3f} G',
            f'{median(minutes):.1f}' if minutes else '',
            f'{1e3 * cost.clip:.2f}', f'{1e3 * cost.frame:.2f}'
        ])
    header = [
        'model', 'learning rate', *columns(rows[0].runs), 'worst run',
        'parameters', 'multiply-adds', 'minutes', 'ms a clip', 'ms a frame'
    ]
    folds = ', '.join(map(str, args.rate_folds))
    chosen = (f'chosen for each model on inner splits (fold {folds}), from '
              if len({*args.rates}) > 1 else 'given: ')
    given = ', '.join(f'{rate:g}' for rate in sorted({*args.rates}))
    notes = (
        f'Top-1 in per cent, of {len(rows[0].runs)} run(s) a model. Learning '
        f'rates are {chosen}{given}. Minutes are the median of the trainings, '
        f'of which up to {args.jobs} ran at a time. Times are medians with '
        f'{args.threads} thread(s) and batch one, without decoding and '
        f'transforms; the edge maps of LCR take {1e3 * edges:.2f} ms a clip '
        'more. A frame of LCR is a step of its stream with two windows. The '
        'other models have no memory: they take a whole clip again for each '
        'new frame, so that their frame equals a clip.')
    return f'{markdown_table(header, lines)}\n{textwrap.fill(notes, 79)}\n'


def record(rows: Sequence[Runs], costs: Dict[str, Cost], edges: float,
           args: argparse.Namespace) -> Dict[str, Any]:
    """Return all figures, with the accuracy of every run."""
    return dict(
        threads=args.threads,
        jobs=args.jobs,
        edge_maps_seconds=edges,
        rows=[
            dict(
                name=row.label,
                rate=rate,
                runs=[
                    dict(fold=run.fold, seed=run.seed, **result._asdict())
                    for run, result in zip(runs, results)
                ],
                **costs[row.model]._asdict())
            for row, rate, runs, results in rows
        ])
