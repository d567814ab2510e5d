# Copyright (c) The mmlcr authors. All rights reserved.
"""Time and memory of functions, measured in turns, as tables and plots."""
import multiprocessing
import os
import time
from statistics import median
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import torch
from mmengine.utils import ProgressBar

TURN = 1.  # second that a turn lasts at least, give or take a call


class Case(NamedTuple):
    """Something to be timed; its ratio is to the case ``base`` of its part."""
    part: str
    name: str
    run: Callable[[], object]
    base: str
    note: str
    size: int = 0  # what its part grows with
    grad: bool = False


Medians = Dict[Tuple[str, str], float]


def measure(cases: Sequence[Case], repeats: int) -> Medians:
    """Median seconds of each case.

    All run once a round, in turns: what slows the machine down for a while
    slows all of them down. Two rounds warm up. Short ones run several times in
    a turn, so that they do not measure what the one before them left.
    """
    # as in any longer run: only after larger blocks than those of the cases
    # have been freed does glibc keep memory, and not ask for it page by page
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
    """A table for each part."""
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
    """How the parts whose cases have sizes grow, a panel each."""
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
            # what would be proportional, from the first point
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
    """MiB that ``prepare(*args)()`` takes at most, beyond what is prepared.

    In a process of its own, by what the kernel says was resident. Linux only.

    Raises:
        RuntimeError: If that process fails.
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
        file.write('5')  # the peak starts anew
    before = resident('VmRSS')
    run()
    writer.send(resident('VmHWM') - before)


def resident(field: str) -> float:
    """MiB of this process, of ``/proc/self/status``; Linux only."""
    with open('/proc/self/status') as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f'no {field} on this system')


def can_measure_memory() -> bool:
    """Whether the system tells what :func:`peak_memory` asks."""
    return os.access('/proc/self/clear_refs', os.W_OK)
