# Copyright (c) The mmlcr authors. All rights reserved.
"""Measure time and memory of functions; tables and plots of the results."""
import multiprocessing
import os
import time
from statistics import median
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import torch
from mmengine.utils import ProgressBar

TURN = 1.  # seconds per turn: short cases are called several times


class Case(NamedTuple):
    """A function to time."""
    part: str  # its table
    name: str
    run: Callable[[], object]
    base: str  # name of the case in this part that ratios refer to
    note: str
    size: int = 0  # x axis of plot_growth; 0: not plotted
    grad: bool = False  # whether gradients are enabled


Medians = Dict[Tuple[str, str], float]


def measure(cases: Sequence[Case], repeats: int) -> Medians:
    """Return the median seconds of each case.

    All cases run once per round, so that a temporary slowdown of the machine
    affects all of them. Two rounds warm up. Short cases run several times per
    turn, so that the state of the caches is their own.
    """
    # glibc keeps freed memory only after a larger block has been freed, as in
    # any longer run; else the cases would measure page faults
    torch.zeros(8_000_000)
    seconds: Dict[Tuple[str, str], List[float]] = {}
    progress = ProgressBar((repeats + 2) * len(cases))
    for turn in range(repeats + 2):
        for case in cases:
            values = seconds.setdefault((case.part, case.name), [])
            calls = max(1, int(TURN / values[-1])) if turn > 1 else 1
            with torch.set_grad_enabled(case.grad):
                start = time.perf_counter()
                for _ in range(calls):
                    case.run()
                values.append((time.perf_counter() - start) / calls)
            progress.update()
    print()
    return {key: median(values[2:]) for key, values in seconds.items()}


def markdown(cases: Sequence[Case], medians: Medians) -> str:
    """Format the results as one Markdown table per part."""
    lines: List[str] = []
    for part in dict.fromkeys(case.part for case in cases):
        lines += [
            f'| {part} | | ms | ratio | to |', '|---|---|---|---|---|'
        ]
        for case in cases:
            if case.part != part:
                continue
            taken = medians[part, case.name]
            ratio = taken / medians[part, case.base]
            lines.append(f'| {case.name} | {case.note} | {1e3 * taken:.1f} | '
                         f'{ratio:.2f} | {case.base} |')
        lines.append('')
    return '\n'.join(lines)


def plot_growth(cases: Sequence[Case], medians: Medians, path: str) -> None:
    """Plot time against size, one panel for each part that has sizes."""
    from matplotlib import pyplot as plt
    curves: Dict[str, Dict[str, List[Tuple[int, float]]]] = {}
    for case in cases:
        if case.size:
            curve = case.name.split(',')[0]
            curves.setdefault(case.part, {}).setdefault(curve, []).append(
                (case.size, 1e3 * medians[case.part, case.name]))
    if not curves:
        return
    figure, panels = plt.subplots(
        1, len(curves), figsize=(3.2 * len(curves), 3), squeeze=False)
    for panel, (part, named) in zip(panels[0], curves.items()):
        for name, points in named.items():
            sizes, taken = zip(*sorted(points))
            panel.plot(sizes, taken, 'o-', label=name)
            # a line of proportional growth, from the first point
            panel.plot((sizes[0], sizes[-1]),
                       (taken[0], taken[0] * sizes[-1] / sizes[0]),
                       ':',
                       color='grey')
        panel.set(title=part, ylabel='ms', xscale='log', yscale='log')
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def peak_memory(prepare: Callable[..., Callable], *args: Any) -> float:
    """Return the peak memory of ``prepare(*args)()`` in MiB.

    It is the increase of the resident set over that after ``prepare``, in a
    separate process. Linux only.

    Raises:
        RuntimeError: If the process fails.
    """
    context = multiprocessing.get_context('spawn')
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(
        target=_report_peak, args=(writer, prepare, args))
    process.start()
    writer.close()
    try:
        return reader.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f'{prepare.__name__}{args} ended with '
                           f'{process.exitcode}') from None
    finally:
        process.join()


def _report_peak(writer: Any, prepare: Callable, args: tuple) -> None:
    run = prepare(*args)
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')  # resets the peak
    before = resident('VmRSS')
    run()
    writer.send(resident('VmHWM') - before)


def resident(field: str) -> float:
    """Read a field of ``/proc/self/status`` in MiB; Linux only."""
    with open('/proc/self/status') as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f'no {field} on this system')


def can_measure_memory() -> bool:
    """Whether the system supports :func:`peak_memory`."""
    return os.access('/proc/self/clear_refs', os.W_OK)
