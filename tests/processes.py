# Copyright (c) The mmlcr authors. All rights reserved.
"""Scripts in processes of their own, in which all is imported already.

To import PyTorch, MMAction2 and this package takes longer than most of what
the tests let scripts do. A server imports them once for each worker of the
tests, and a script is run by a fork of it (``forkserver`` of multiprocessing).
"""
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(
    ['mmlcr', 'mmlcr.streaming', 'mmaction.apis', 'mmaction.models'])
LONGEST = 300  # seconds that a script may take


def run_script(script: object,
               *arguments: object,
               cwd: Optional[Path] = None,
               environment: Optional[Dict[str, str]] = None,
               together: bool = False) -> subprocess.CompletedProcess:
    """Run a Python script, as from a shell.

    Args:
        script (object): Its path, or ``-c`` for code, the first argument.
        *arguments (object): Of the script.
        cwd (Path, optional): Folder to run it in.
        environment (dict[str, str], optional): Added to that of the tests.
            What is read on importing this package is not among it.
        together (bool): Errors go where the output goes.

    Returns:
        subprocess.CompletedProcess: With its code, or the negative number of
        the signal that killed it, and what it wrote, as texts.

    Raises:
        TimeoutError: If it takes too long.
    """
    command = [str(word) for word in (script, *arguments)]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, 'out'), Path(folder, 'err')
        written = [out, out if together else err]
        for path in written:
            path.touch()
        process = SERVER.Process(
            target=_be, args=(command, cwd or os.getcwd(),
                              {**os.environ, **(environment or {})}, written))
        process.start()
        process.join(LONGEST)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f'{command} took more than {LONGEST} seconds')
        texts = [path.read_text(errors='replace') for path in written]
    return subprocess.CompletedProcess(
        command, process.exitcode, texts[0], None if together else texts[1])


def _be(command: Sequence[str], cwd: Any, environment: Dict[str, str],
        written: Sequence[Path]) -> None:
    """Be the interpreter that a shell would have started."""
    multiprocessing.set_start_method('fork', force=True)
    for number, path in enumerate(written, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [*command]
    if command[0] == '-c':
        sys.argv.pop(1)
        exec(compile(command[1], '<string>', 'exec'), {'__name__': '__main__'})
        return
    sys.path.insert(0, os.path.dirname(command[0]))
    runpy.run_path(command[0], run_name='__main__')
