# Copyright (c) The mmlcr authors. All rights reserved.
"""Bad lists, images, videos and checkpoints: each is refused by its name."""
import argparse
import collections
import functools
import os
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

# before cv2, torch and decord start threads of their own
os.environ.setdefault('OMP_NUM_THREADS', '1')

from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import mmlcr
from mmlcr.datasets import ClipError, TaskResult, map_isolated
from mmlcr.engine import UnreadableFileError
from mmlcr.video import SourceError

from kinds import ABSOLUTE, KINDS, images, videos, weights  # isort: skip

MEMORY = 2 * 2**30  # bytes that an input may take
LONGEST = 10_000  # characters of an error that somebody is to read
OURS = (ClipError, SourceError, UnreadableFileError)
OURS_WHERE_RAISED_HERE = (FileNotFoundError, IsADirectoryError, ValueError)
PACKAGE = os.path.dirname(mmlcr.__file__)
VERDICTS = ('result', 'our error', 'crash, named', 'hang', 'finding')


class Input(NamedTuple):
    """It is a function of these."""
    kind: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        """Of a folder."""
        return f'{self.kind.replace(", ", "-").replace(" ", "-")}-{self[1]}'

    def write(self, folder: Path) -> random.Random:
        """Its files, in a folder that is made; what its reader draws by."""
        folder.mkdir(parents=True)
        rng = random.Random(f'{self.kind} {self.number} {self.seed}')
        KINDS[self.kind].write(rng, folder)
        return rng


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Make bad inputs and read them, in processes of their '
        'own. A result is fine, and so is one of our errors that names the '
        'file; a decoder that crashes is named by the process that started '
        'it. All else is a finding, and so is a hang; ends with 1 if there '
        'are any. An input depends on kind, number and seed alone: --kinds '
        'KIND --first NUMBER --inputs 1 tries it again.')
    parser.add_argument(
        '--inputs', type=int, default=300, help='of each kind')
    parser.add_argument('--first', type=int, default=0, help='number of each')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--kinds', nargs='+', default=[*KINDS], choices=[*KINDS])
    parser.add_argument(
        '--jobs',
        type=int,
        default=os.cpu_count(),
        help='inputs at a time; default: as many as there are CPUs')
    parser.add_argument(
        '--seconds',
        type=float,
        default=60,
        help='that an input may take; default: %(default)s')
    parser.add_argument(
        '--keep',
        type=Path,
        help='folder for inputs that crash or hang a process, or are findings')
    return parser.parse_args()


def attempt(inputs: List[Input], root: Path, number: int) -> Tuple[str, str]:
    """A verdict on an input, and its message."""
    _be_quiet()
    folder = root / str(number)
    try:
        rng = inputs[number].write(folder)
        KINDS[inputs[number].kind].read(rng, folder)
    except Exception as error:
        return judge(error, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 'result', ''


def judge(error: Exception, folder: Path) -> Tuple[str, str]:
    """Whether an error is one of ours and says in a line what it is of."""
    message = str(error)
    *_, last = traceback.walk_tb(error.__traceback__)
    raised_here = last[0].f_code.co_filename.startswith(PACKAGE)
    ours = isinstance(error, OURS) or (
        raised_here and isinstance(error, OURS_WHERE_RAISED_HERE))
    named = any(name in message for name in (str(folder), *ABSOLUTE))
    if ours and named and '\n' not in message and len(message) < LONGEST:
        return 'our error', message
    return 'finding', ''.join(
        traceback.format_exception(type(error), error, error.__traceback__))


def verdict_of(result: TaskResult) -> Tuple[str, str]:
    """What the process of an input came to, or the input in it."""
    if result.exit_code is not None:
        return 'crash, named', str(result.failure)
    if result.timeout is not None:
        return 'hang', str(result.failure)
    return result.value


@functools.lru_cache(maxsize=None)
def _be_quiet() -> None:
    """Decoders write a lot to the terminal of this process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def keep(tried: Input, verdict: str, message: str, folder: Path) -> None:
    """Write an input and what became of it."""
    target = folder / tried.name
    shutil.rmtree(target, ignore_errors=True)
    tried.write(target)
    (target / 'verdict.txt').write_text(f'{tried}\n{verdict}: {message}\n')


def fuzz(inputs: List[Input],
         jobs: int,
         seconds: float,
         kept: Optional[Path] = None) -> Dict[str, collections.Counter]:
    """Try all inputs; how often there was each verdict, by kind."""
    counts = {tried.kind: collections.Counter() for tried in inputs}
    console = Console(stderr=True)
    videos(), images(), weights()  # once, and not in every process
    with tempfile.TemporaryDirectory() as target, Progress(
            console=console) as progress:
        task = progress.add_task('fuzzing', total=len(inputs))
        function = functools.partial(attempt, inputs, Path(target))
        for result in map_isolated(
                function,
                len(inputs),
                jobs=jobs,
                seconds=seconds,
                memory=MEMORY):
            tried = inputs[result.task_id]
            verdict, message = verdict_of(result)
            counts[tried.kind][verdict] += 1
            progress.advance(task)
            if verdict not in ('result', 'our error'):
                console.print(f'{tried.kind} {tried.number}: {verdict}: '
                              f'{message}', markup=False)
                if kept is not None:
                    keep(tried, verdict, message, kept)
            if result.failure is not None:
                shutil.rmtree(
                    Path(target, str(result.task_id)), ignore_errors=True)
    return counts


def print_table(counts: Dict[str, collections.Counter]) -> None:
    table = Table('kind', 'inputs', *VERDICTS)
    total = sum(counts.values(), collections.Counter())
    for kind, of_kind in [*counts.items(), ('all', total)]:
        numbers = [sum(of_kind.values()), *(of_kind[v] for v in VERDICTS)]
        table.add_row(kind, *map(str, numbers))
    Console().print(table)


def main() -> int:
    args = parse_args()
    init_default_scope('mmaction')
    numbers = range(args.first, args.first + args.inputs)
    inputs = [
        Input(kind, number, args.seed) for kind in args.kinds
        for number in numbers
    ]
    counts = fuzz(inputs, args.jobs, args.seconds, args.keep)
    print_table(counts)
    return any(c['finding'] or c['hang'] for c in counts.values())


if __name__ == '__main__':
    sys.exit(main())
