# Copyright (c) The mmlcr authors. All rights reserved.
"""Work in child processes: what is tried there may crash, hang or grow."""
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection, wait
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    List,
    NamedTuple,
    Optional,
)

import cv2

LOOK = 0.2  # seconds between two looks at the clock


class Outcome(NamedTuple):
    """What became of a number: a result, unless there is a fault."""
    number: int
    result: Any = None
    exit_code: Optional[int] = None  # of the process, where that ended
    too_slow: Optional[float] = None  # the limit in seconds, where it was hit

    @property
    def fault(self) -> Optional[str]:
        """What went wrong with the process, in words."""
        if self.exit_code is not None and self.exit_code < 0:
            return f'a decoder crashed, exit code {self.exit_code}'
        if self.exit_code is not None:
            return f'its process ended, exit code {self.exit_code}'
        if self.too_slow is not None:
            return f'took more than {self.too_slow:g} seconds'
        return None


class _Job(NamedTuple):
    """A number, and the process that has it."""
    process: Any
    number: int
    since: float


def try_each(function: Callable[[int], Any],
             count: int,
             *,
             jobs: int,
             seconds: float,
             memory: Optional[int] = None) -> Generator[Outcome, None, None]:
    """Call a function of numbers, several at a time, in child processes.

    A process takes one number after the other; one that crashes or takes too
    long is replaced, and only its number is lost.

    Args:
        function (Callable[[int], Any]): What it returns is pickled.
        count (int): Numbers, from zero.
        jobs (int): Numbers at a time.
        seconds (float): That a number may take.
        memory (int, optional): Bytes of addresses that a process may use
            beyond those that it begins with; on Linux only. Defaults to None:
            there is no limit.

    Yields:
        Outcome: Of each number, as they end.
    """
    left = iter(range(count))
    busy: Dict[Connection, _Job] = {}

    def begin(process: Any = None, pipe: Any = None) -> None:
        number = next(left, None)
        if process is not None:
            try:
                pipe.send(number)  # None is the end
            except BrokenPipeError:  # it crashed after its last number
                process = None
        if number is None:
            return
        if process is None:
            pipe, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(
                target=_work,
                args=(function, theirs, [pipe, *busy], memory),
                daemon=True)
            _start(process)
            theirs.close()
            pipe.send(number)
        busy[pipe] = _Job(process, number, time.monotonic())

    try:
        for _ in range(max(1, jobs)):
            begin()
        while busy:
            ready: List[Any] = wait([*busy], LOOK)
            for pipe in ready:
                process, number, _ = busy.pop(pipe)
                try:
                    outcome = Outcome(number, pipe.recv())
                    begin(process, pipe)
                except (EOFError, ConnectionResetError):
                    process.join()
                    outcome = Outcome(number, exit_code=process.exitcode)
                    begin()
                yield outcome
            for pipe, job in [*busy.items()]:
                late = time.monotonic() - job.since > seconds
                if late and not pipe.poll():  # as it looks now
                    del busy[pipe]
                    _end(job.process)
                    begin()
                    yield Outcome(job.number, too_slow=seconds)
    finally:  # nobody wants the rest
        for job in busy.values():
            _end(job.process)


def _start(process: Any) -> None:
    """OpenCV's threads would be missing in the child, which waits for them."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        process.start()
    finally:
        cv2.setNumThreads(threads)


def _work(function: Callable[[int], Any], pipe: Connection,
          of_parent: List[Connection], memory: Optional[int]) -> None:
    """Take numbers until there is none, or nobody who has them.

    The other ends of the pipes are copied into a forked process: as long as
    they are open there, it would not see that the parent is gone.
    """
    for end in of_parent:
        end.close()
    if memory is not None:
        _limit_memory(memory)
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        if number is None:
            return
        pipe.send(function(number))


def _limit_memory(more: int) -> None:
    if sys.platform == 'linux':
        import resource
        with open('/proc/self/statm') as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, ) * 2)


def _end(process: Any) -> None:
    process.kill()
    process.join()
