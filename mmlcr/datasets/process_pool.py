# Copyright (c) The mmlcr authors. All rights reserved.
"""Calls in child processes, which may crash, hang or run out of memory."""
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

POLL_SECONDS = 0.2  # interval of the checks of the time limit


class TaskResult(NamedTuple):
    """The value of one task, or the failure of its process."""
    task_id: int
    value: Any = None
    exit_code: Optional[int] = None  # of the process, if it ended
    timeout: Optional[float] = None  # the limit in seconds, if it was exceeded

    @property
    def failure(self) -> Optional[str]:
        """Description of the failure; None if there is a value."""
        if self.exit_code is not None and self.exit_code < 0:
            return f'a decoder crashed, exit code {self.exit_code}'
        if self.exit_code is not None:
            return f'its process ended, exit code {self.exit_code}'
        if self.timeout is not None:
            return f'took more than {self.timeout:g} seconds'
        return None


class _Task(NamedTuple):
    """A running task and its process."""
    process: Any
    task_id: int
    start: float  # by time.monotonic()


def map_isolated(
        function: Callable[[int], Any],
        count: int,
        *,
        jobs: int,
        seconds: float,
        memory: Optional[int] = None) -> Generator[TaskResult, None, None]:
    """Call ``function(0)`` to ``function(count - 1)`` in child processes.

    Each process runs one task after the other. A process that crashes or
    exceeds the time limit is replaced, and only its current task fails.

    Args:
        function (Callable[[int], Any]): Its return value must be picklable.
        count (int): Number of tasks.
        jobs (int): Number of processes that run at a time.
        seconds (float): Time limit of a task.
        memory (int, optional): Bytes of address space that a process may use
            beyond those that it starts with, on Linux only. Defaults to None,
            which is no limit.

    Yields:
        TaskResult: One per task, in order of completion.
    """
    waiting = iter(range(count))
    busy: Dict[Connection, _Task] = {}

    def start_next(process: Any = None, pipe: Any = None) -> None:
        task_id = next(waiting, None)
        if process is not None:
            try:
                pipe.send(task_id)  # None ends the process
            except BrokenPipeError:  # it crashed after its last task
                process = None
        if task_id is None:
            return
        if process is None:
            pipe, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(
                target=_run_tasks,
                args=(function, theirs, [pipe, *busy], memory),
                daemon=True)
            _start(process)
            theirs.close()
            pipe.send(task_id)
        busy[pipe] = _Task(process, task_id, time.monotonic())

    try:
        for _ in range(max(1, jobs)):
            start_next()
        while busy:
            ready: List[Any] = wait([*busy], POLL_SECONDS)
            for pipe in ready:
                process, task_id, _ = busy.pop(pipe)
                try:
                    result = TaskResult(task_id, pipe.recv())
                    start_next(process, pipe)
                except (EOFError, ConnectionResetError):
                    process.join()
                    result = TaskResult(task_id, exit_code=process.exitcode)
                    start_next()
                yield result
            for pipe, task in [*busy.items()]:
                is_late = time.monotonic() - task.start > seconds
                if is_late and not pipe.poll():  # no value in the meantime
                    del busy[pipe]
                    _kill(task.process)
                    start_next()
                    yield TaskResult(task.task_id, timeout=seconds)
    finally:  # the caller may stop before the last task
        for task in busy.values():
            _kill(task.process)


def _start(process: Any) -> None:
    """Start a process without OpenCV's threads.

    A forked child lacks the threads and would wait for them forever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        process.start()
    finally:
        cv2.setNumThreads(threads)


def _run_tasks(function: Callable[[int], Any], pipe: Connection,
               parents_pipes: List[Connection],
               memory: Optional[int]) -> None:
    """Run tasks until the parent sends None or has ended.

    A forked process has copies of the parent's ends of the pipes. They are
    closed, so that the process notices the end of its parent.
    """
    for end in parents_pipes:
        end.close()
    if memory is not None:
        _limit_memory(memory)
    while True:
        try:
            task_id = pipe.recv()
        except EOFError:
            return
        if task_id is None:
            return
        pipe.send(function(task_id))


def _limit_memory(extra: int) -> None:
    if sys.platform == 'linux':
        import resource
        with open('/proc/self/statm') as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + extra, ) * 2)


def _kill(process: Any) -> None:
    process.kill()
    process.join()
