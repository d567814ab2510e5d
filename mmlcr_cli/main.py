# Copyright (c) The mmlcr authors. All rights reserved.
"""The command ``mmlcr``, and each of its commands on its own."""
import argparse
import difflib
import importlib
import os.path as osp
import shlex
import sys
from types import ModuleType
from typing import NoReturn, Optional, Sequence

from .commands import COMMANDS, GROUPS
from .package import package_version

CODE_OF_BROKEN_PIPE = 141  # as of a process that SIGPIPE ended
# how the same commands are called in a clone, as in MMAction2
TOOLS = {
    'prepare': 'prepare_dataset',
    'scan': 'scan_clips',
    'motion': 'make_motion',
    'page': 'webapp',
    'features': 'extract_features',
    'export': 'export_onnx',
    'convert': 'convert_vrwkv',
    'publish': 'publish_model',
    'flops': 'get_flops',
}


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run ``mmlcr COMMAND ARGUMENTS``.

    Args:
        argv (sequence[str], optional): Command and arguments. Defaults to
            None: those of the process.
    """
    arguments = [*(sys.argv[1:] if argv is None else argv)]
    parser = argparse.ArgumentParser(
        prog='mmlcr',
        usage='mmlcr COMMAND ...',
        description='Video action recognition with LCR (LSTM CrossRWKV) for '
        'MMAction2.',
        epilog=f'{command_table()}\n"mmlcr COMMAND --help" lists the '
        'arguments of a command.',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--version', action='version', version=f'mmlcr {package_version()}')
    parser.add_argument('command', metavar='COMMAND', help=argparse.SUPPRESS)
    if not arguments:
        parser.print_help()
        sys.exit(0)
    name = parser.parse_args(arguments[:1]).command
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f', did you mean {near[0]}?' if near else ''
        parser.error(f'there is no command {name!r}{hint}')
    run(name, arguments[1:], f'mmlcr {name}')


def command_table() -> str:
    """All commands with their summaries, by group."""
    width = max(map(len, COMMANDS)) + 2
    lines = []
    for group, commands in GROUPS.items():
        lines.append(f'{group}:')
        lines += [f'  {name:{width}}{summary}'
                  for name, summary in commands.items()]
        lines.append('')
    return '\n'.join(lines)


def run(name: str,
        argv: Optional[Sequence[str]] = None,
        prog: Optional[str] = None) -> NoReturn:
    """Run one command, and end the process with its exit code.

    Args:
        name (str): A key of ``COMMANDS``.
        argv (sequence[str], optional): Its arguments. Defaults to None: those
            of the process.
        prog (str, optional): How it is called, for its help. Defaults to
            None: the name of the script.
    """
    args = parse(name, argv, prog)
    command = load(name)
    if not hasattr(command, 'main'):
        command = importlib.import_module(f'mmlcr.cli.{module_name(name)}')
    try:
        code = command.main(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed its end: head, less
        sys.stdout = None
        code = CODE_OF_BROKEN_PIPE
    sys.exit(code)


def parse(name: str,
          argv: Optional[Sequence[str]] = None,
          prog: Optional[str] = None) -> argparse.Namespace:
    """Parse and check the arguments of a command, without PyTorch.

    Args:
        name (str): A key of ``COMMANDS``.
        argv (sequence[str], optional): Its arguments. Defaults to None: those
            of the process.
        prog (str, optional): How it is called, for its help. Defaults to
            None: the name of the script.

    Returns:
        argparse.Namespace: The arguments, with defaults filled in.

    Raises:
        SystemExit: With code 2, if the arguments are wrong.
    """
    command = load(name)
    parser = argparse.ArgumentParser(
        prog=prog, description=command.DESCRIPTION)
    command.add_arguments(parser)
    args = parser.parse_args(argv)
    if hasattr(command, 'check'):
        command.check(parser, args)
    return args


def load(name: str) -> ModuleType:
    """The module with the arguments of a command."""
    return importlib.import_module(
        f'.commands.{module_name(name)}', __package__)


def module_name(name: str) -> str:
    """The module of a command."""
    return name.replace('-', '_')


def shell_command(name: str) -> str:
    """How a user calls another command the way this one was called.

    Returns:
        str: ``mmlcr NAME``, or ``python .../tools/TOOL.py`` in a process that
        was started by such a tool.
    """
    tools = osp.dirname(sys.argv[0])
    tool = TOOLS.get(name, module_name(name))
    path = osp.join(tools, f'{tool}.py')
    if sys.argv[0].endswith('.py') and osp.basename(
            osp.abspath(tools)) == 'tools' and osp.isfile(path):
        return f'python {shlex.quote(path)}'
    return f'mmlcr {name}'
