# Copyright (c) The mmlcr authors. All rights reserved.
"""Overrides of a config that have the effect of editing its files.

A config is executed once, and values that it derives from a variable are
copies: MMEngine's ``merge_from_dict`` changes the variable and leaves the
copies. Here the assignments of the variable are overridden, in the config and
in its ``_base_`` files, before they are executed, so that all derived values
follow. An override that changes nothing is an error.
"""
import ast
import contextlib
import copy
import logging
import os
import os.path as osp
import pickle
import tempfile
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from .override_checks import (
    Options,
    OverrideError,
    Path,
    arguments_of,
    check_new,
    check_place,
    effective,
    hint,
    imports_others,
    runner_arguments,
    walk,
    what_counts,
)

BASE = '_base_'



def read_config(path: str, options: Optional[Options] = None) -> Config:
    """Read a config with overrides, as if its files had been edited.

    Args:
        path (str): Path of the config.
        options (dict, optional): Values by key, nested by dots. Defaults to
            None.

    Returns:
        Config: The config with the overrides.

    Raises:
        OverrideError: If an override changes nothing, adds a key that nothing
            takes, or does not fit the config.
    """
    plain = Config.fromfile(path)
    if not options:
        return plain
    for key, value in options.items():
        check_place(key, value, plain)
    with _no_info():
        config = _overridden(plain, path, options)
        for key, value in options.items():
            _check(key, value, options, plain, config, path)
    return config


def reads_variable(path: str, name: str) -> bool:
    """Whether another value of an environment variable changes the config.

    Args:
        path (str): Path of the config.
        name (str): Name of a variable that is set.
    """
    value = os.environ[name]
    other = str(int(value) + 1) if value.isdigit() else value + '_'
    with _no_info():
        before = effective(Config.fromfile(path))
        with environment({name: other}):
            try:
                return effective(Config.fromfile(path)) != before
            except Exception:  # raised by the config at that value
                return True


@contextlib.contextmanager
def environment(variables: Dict[str, str]) -> Iterator[None]:
    """Set environment variables within the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _no_info() -> Iterator[None]:
    """Silence the log line for each environment variable that is read."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


# --- follow a variable to its uses


def override(name: str, value: Any, pickled: bytes, inside: bool,
             last: bool) -> Any:
    """Apply the overrides of a variable; rewritten configs call it.

    Args:
        name (str): Name of the variable.
        value (any): Its value.
        pickled (bytes): Pickled paths and new values of all overrides.
        inside (bool): Whether a part of the value was assigned. Then the
            value is changed in place, as other variables may share it;
            otherwise a copy is changed.
        last (bool): Whether no config that is built on this one assigns the
            variable. Indices of lists and new keys refer to the last value.

    Returns:
        any: The value with the overrides.
    """
    if not inside:
        value = copy.deepcopy(value)
    for path, new in pickle.loads(pickled):
        if path[0] == name:
            value = _replaced(value, path[1:], new, last)
    return value


def _replaced(value: Any, path: Path, new: Any, last: bool) -> Any:
    """Replace the value at a path, if the path exists."""
    if isinstance(value, list) and not last:
        return value
    if not path:
        return new
    key: Any = path[0]
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        key = int(key)
        value[key] = _replaced(value[key], path[1:], new, last)
    elif isinstance(value, dict) and (key in value or last and len(path) == 1):
        value[key] = _replaced(value.get(key), path[1:], new, last)
    return value


class _Override(ast.NodeTransformer):
    """Appends a call of :func:`override` to each assignment of a variable."""

    def __init__(self, paths: List[Tuple[Path, Any]], later: Set[str]) -> None:
        self.names = {path[0] for path, _ in paths}
        self.pickled = pickle.dumps(paths)
        self.later = later

    def assign(self, node: Any) -> Any:
        # MMEngine would take a file with an import statement as a lazy config
        lines = [
            f'{name.id} = __import__({__name__!r}, fromlist=[""]).override('
            f'{name.id!r}, {name.id}, {self.pickled!r}, '
            f'inside={not isinstance(name.ctx, ast.Store)}, '
            f'last={name.id not in self.later})'
            for name in _assigned(node) if name.id in self.names
        ]
        return [node, *ast.parse('\n'.join(lines)).body]

    visit_Assign = visit_AnnAssign = visit_AugAssign = assign

    def local(self, node: Any) -> Any:
        return node

    visit_FunctionDef = visit_ClassDef = visit_Lambda = local


def _assigned(node: Any) -> List[ast.Name]:
    """Return the variables that a statement assigns, wholly or in part."""
    targets = getattr(node, 'targets', None) or [node.target]
    return [
        name for target in targets for name in ast.walk(target)
        if isinstance(name, ast.Name)
    ]


def _rewrite(path: str, folder: str, paths: List[Tuple[Path, Any]],
             later: Set[str]) -> str:
    """Write the config and its bases, rewritten, into a folder.

    Args:
        path (str): Path of the config.
        folder (str): Folder to write into.
        paths (list): Paths and new values of all overrides.
        later (set[str]): Variables that configs built on this one assign.

    Returns:
        str: Path of the rewritten config, with the same file name.
    """
    if not path.endswith('.py'):
        return path
    inside = tempfile.mkdtemp(dir=folder)
    rewritten = osp.join(inside, osp.basename(path))
    Config._substitute_predefined_vars(path, rewritten)
    Config._substitute_env_variables(rewritten, rewritten)
    with open(rewritten, encoding='utf-8') as file:
        tree = ast.parse(file.read())
    assigned = later | {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign))
        for name in _assigned(node)
    }
    bases = []
    for base in Config._get_base_files(rewritten):
        if '::' not in base:  # else a config of another package
            base = osp.join(osp.dirname(osp.abspath(path)), base)
            base = _rewrite(base, folder, paths, assigned)
        bases.append(base)
    tree = _Override(paths, later).visit(tree)
    for node in tree.body:
        if (isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id == BASE):
            node.value = ast.parse(repr(bases), mode='eval').body
    with open(rewritten, 'w', encoding='utf-8') as file:
        file.write(ast.unparse(ast.fix_missing_locations(tree)))
    return rewritten


def _overridden(plain: Config, path: str, options: Options) -> Config:
    """Return the config with overrides, without checks.

    Arguments of the runner are overridden at the end only, as by MMEngine: a
    test loader that was derived from that of validation stays.
    """
    arguments = runner_arguments(plain) or arguments_of(Runner.__init__)
    paths = [(tuple(key.split('.')), value) for key, value in options.items()]
    paths = [
        option for option in paths
        if option[0][0] in plain and option[0][0] not in arguments
    ]
    followed = plain
    try:
        if paths and not Config._is_lazy_import(path):
            with tempfile.TemporaryDirectory() as folder:
                rewritten = _rewrite(path, folder, paths, later=set())
                followed = Config.fromfile(rewritten)
        config = Config(
            copy.deepcopy(followed._cfg_dict),
            cfg_text=plain.text,
            filename=plain.filename,
            env_variables=plain.env_variables)
        config.merge_from_dict(copy.deepcopy(options))
    except Exception as error:  # raised by the config at that value
        given = ' '.join(f'{key}={value}' for key, value in options.items())
        raise OverrideError(f'{path} cannot be read with {given}: '
                            f'{type(error).__name__}: {error}') from error
    return config


# --- what has an effect


def _check(key: str, value: Any, options: Options, plain: Config,
           config: Config, file: str) -> None:
    """Check that an override has an effect.

    Raises:
        OverrideError: If it changes nothing.
    """
    check_new(key, value, plain, config)
    path = tuple(key.split('.'))
    before = dict(walk(dict(plain.items())))
    after = dict(walk(dict(config.items())))
    if path in before and before[path] == after[path]:
        return
    top = path[0]
    if top not in effective(config):
        others = {k: v for k, v in options.items() if k != key}
        without = _overridden(plain, file, others) if others else plain
        if effective(without) == effective(config):
            counts = what_counts(key, plain)
            if counts or not imports_others(plain):
                raise OverrideError(
                    f'{key}={value} changes nothing: '
                    f'{osp.basename(file)} makes nothing that is read from '
                    f'{top}{hint(counts)}')
    elif top.endswith('_pipeline'):
        loader = top.replace('_pipeline', '_dataloader')
        left = [
            '.'.join((*place, *path[1:])) for place, steps in before.items()
            if place[0] == loader and place[-1] == 'pipeline'
            and steps == plain[top] and after.get(place) == steps
        ]
        if left:
            raise OverrideError(
                f'{key}={value} changes the pipeline of streams alone: '
                f'{osp.basename(file)} does not make that of {loader} from '
                f'it{hint(left, "also counts", "also count")}')


