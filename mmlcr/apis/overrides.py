# Copyright (c) The mmlcr authors. All rights reserved.
"""Overrides of a config that have the effect of editing its files.

A config is executed once, and whatever is made from a variable is a copy:
MMEngine's ``merge_from_dict`` changes the variable and leaves the copies. Here
the assignments of the variable are overridden, in the config and in its
``_base_`` files, before they are executed, so that everything made from it
follows. An override that changes nothing is an error.
"""
import ast
import contextlib
import copy
import difflib
import dis
import inspect
import logging
import os
import os.path as osp
import pickle
import tempfile
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner, set_random_seed
from mmengine.runner import runner as mmengine_runner
from torch.utils.data import DataLoader

import mmaction.registry


class OverrideError(ValueError):
    """An override does not fit the config, or changes nothing."""


Options = Dict[str, Any]
Path = Tuple[str, ...]

BASE = '_base_'
RESERVED = {'type', '_scope_', '_delete_'}
# what tools, streams and the runner read beside the runner's arguments
TOP_LEVEL = {
    'train_pipeline', 'val_pipeline', 'test_pipeline', 'stream_fps', 'compile',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy',
    'sync_bn', 'custom_imports', 'init_weights_for_test_or_val',
    'activation_checkpointing', 'efficient_conv_bn_eval'
}
DATA_LOADER = {'type', 'num_batch_per_epoch'}
# classes that MMEngine takes where a section names none
DEFAULT_TYPES = {
    'train_cfg': ('EpochBasedTrainLoop', 'IterBasedTrainLoop'),
    'val_cfg': ('ValLoop', ),
    'test_cfg': ('TestLoop', ),
    'optim_wrapper': ('OptimWrapper', ),
    'visualizer': ('Visualizer', ),
    'log_processor': ('LogProcessor', ),
    'model_wrapper_cfg': ('MMDistributedDataParallel', ),
    'default_hooks.runtime_info': ('RuntimeInfoHook', ),
    'default_hooks.timer': ('IterTimerHook', ),
    'default_hooks.sampler_seed': ('DistSamplerSeedHook', ),
    'default_hooks.logger': ('LoggerHook', ),
    'default_hooks.param_scheduler': ('ParamSchedulerHook', ),
    'default_hooks.checkpoint': ('CheckpointHook', )
}
# sections that no class takes as arguments
SECTIONS = {
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'default_hooks': {
        path.partition('.')[2]
        for path in DEFAULT_TYPES if path.startswith('default_hooks.')
    }
}
# arguments that a builder takes for the class
BUILDER_ARGUMENTS = {
    'param_scheduler': {'convert_to_iter_based'},
    'train_cfg': {'by_epoch'},
    'optim_wrapper': {'constructor', 'paramwise_cfg'}
}


def read_config(path: str, options: Optional[Options] = None) -> Config:
    """Read a config with overrides, as if its files had been edited.

    Args:
        path (str): Of the config.
        options (dict, optional): Value of each key, nested by dots.

    Raises:
        OverrideError: If an override changes nothing, adds a key that nothing
            takes, or does not fit the config.
    """
    plain = Config.fromfile(path)
    if not options:
        return plain
    for key, value in options.items():
        _check_place(key, value, plain)
    with _no_info():
        config = _overridden(plain, path, options)
        for key, value in options.items():
            _check(key, value, options, plain, config, path)
    return config


def reads_variable(path: str, name: str) -> bool:
    """Whether another value of an environment variable changes the config.

    Args:
        path (str): Of the config.
        name (str): Of the variable, which is set.
    """
    value = os.environ[name]
    other = str(int(value) + 1) if value.isdigit() else value + '_'
    with _no_info():
        before = _effective(Config.fromfile(path))
        with environment({name: other}):
            try:
                return _effective(Config.fromfile(path)) != before
            except Exception:  # whatever the config does with the value
                return True


def what_counts(key: str, config: Config) -> List[str]:
    """Keys of the config that an ineffective one may have been meant for."""
    top, *rest = key.split('.')
    paths = dict(_walk(_effective(config)))
    found = []
    if isinstance(config.get(top), (dict, list)):
        found = [
            '.'.join((*path, *rest)) for path, value in paths.items()
            if path != (top, ) and value == config[top]
            and (*path, *rest) in paths
        ]
    name = key.split('.')[-1]
    return found or ['.'.join(path) for path in paths if path[-1] == name]


@contextlib.contextmanager
def environment(variables: Dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
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
    """MMEngine logs every reading of an environment variable."""
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
        name (str): Of the variable.
        value (any): Its value.
        pickled (bytes): Path and new value of all overrides.
        inside (bool): Whether a part of the value was assigned, and other
            variables may share it; else what it was made from stays.
        last (bool): Whether no config that is built on this one assigns the
            variable. Places in lists, and new keys, are of the last value.
    """
    if not inside:
        value = copy.deepcopy(value)
    for path, new in pickle.loads(pickled):
        if path[0] == name:
            value = _replaced(value, path[1:], new, last)
    return value


def _replaced(value: Any, path: Path, new: Any, last: bool) -> Any:
    """Put the new value at the path, where the path leads."""
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
    """Append a call of :func:`override` to each assignment of a variable."""

    def __init__(self, paths: List[Tuple[Path, Any]], later: Set[str]) -> None:
        self.names = {path[0] for path, _ in paths}
        self.pickled = pickle.dumps(paths)
        self.later = later

    def assign(self, node: Any) -> Any:
        # an import statement would make the file one of lazy imports
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
    """Variables that a statement assigns, or parts of which."""
    targets = getattr(node, 'targets', None) or [node.target]
    return [
        name for target in targets for name in ast.walk(target)
        if isinstance(name, ast.Name)
    ]


def _rewrite(path: str, folder: str, paths: List[Tuple[Path, Any]],
             later: Set[str]) -> str:
    """Write the config and its bases, rewritten, into a folder.

    Args:
        path (str): Of the config.
        folder (str): To write into.
        paths (list): Path and new value of all overrides.
        later (Set[str]): Variables that the configs built on it assign.

    Returns:
        str: Path of the rewritten config, which has the name of the other.
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
        if '::' not in base:  # else of a package, with a scope of its own
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
    """The config with overrides, not checked.

    What the runner takes is overridden at the end alone, as by MMEngine: the
    test loader that was made from the one of validation stays.
    """
    arguments = _runner_arguments(plain) or _arguments(Runner.__init__)
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
    except Exception as error:  # whatever the config does with the value
        said = ' '.join(f'{key}={value}' for key, value in options.items())
        raise OverrideError(f'{path} can not be read with {said}: '
                            f'{type(error).__name__}: {error}') from error
    return config


# --- what has an effect


def _runner_arguments(config: Config) -> Optional[Set[str]]:
    """Arguments of the config's runner; None if its class is not known."""
    if 'runner_type' not in config:
        return _arguments(Runner.__init__)
    runner = _find(config.runner_type, config)
    return None if runner is None else _keywords(runner)


def _effective(config: Config) -> Dict[str, Any]:
    """The part of a config that something reads."""
    arguments = _runner_arguments(config)
    return {
        key: value
        for key, value in config.items()
        if arguments is None or key in arguments or key in TOP_LEVEL
    }


def _walk(value: Any, path: Path = ()) -> Iterator[Tuple[Path, Any]]:
    """All paths of a nested value, and what is there."""
    if path:
        yield path, value
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, inner in items:
        yield from _walk(inner, (*path, str(key)))


def _check(key: str, value: Any, options: Options, plain: Config,
           config: Config, file: str) -> None:
    """Refuse an override that changes nothing.

    Raises:
        OverrideError: If it does.
    """
    _check_new(key, value, plain, config)
    path = tuple(key.split('.'))
    before = dict(_walk(dict(plain.items())))
    after = dict(_walk(dict(config.items())))
    if path in before and before[path] == after[path]:
        return
    top = path[0]
    if top not in _effective(config):
        others = {k: v for k, v in options.items() if k != key}
        without = _overridden(plain, file, others) if others else plain
        if _effective(without) == _effective(config):
            counts = what_counts(key, plain)
            if counts or not _imports_others(plain):
                raise OverrideError(
                    f'{key}={value} changes nothing: '
                    f'{osp.basename(file)} makes nothing that is read from '
                    f'{top}{_hint(counts)}')
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
                f'it{_hint(left, "also counts", "also count")}')


def _hint(keys: List[str], one: str = 'would count',
          many: str = 'would count') -> str:
    if not keys:
        return ''
    return f'; {", ".join(keys[:4])} {one if len(keys) == 1 else many}'


def _imports_others(config: Config) -> bool:
    """Whether code of a user may read what it likes of the config."""
    imports = config.get('custom_imports') or {}
    names = imports.get('imports') or []
    return any(name != 'mmlcr'
               for name in ([names] if isinstance(names, str) else names))


def _check_place(key: str, value: Any, config: Config) -> None:
    """Refuse a key that leads into a number, or beyond the end of a list.

    Raises:
        OverrideError: If it does.
    """
    section: Any = config
    path = key.split('.')
    for depth, name in enumerate(path):
        place = '.'.join(path[:depth])
        if isinstance(section, (list, tuple)):
            last = depth == len(path) - 1
            if (isinstance(section, tuple) or last or not name.isdigit()
                    or int(name) >= len(section)):
                raise OverrideError(
                    f'{key}={value} has no place: {place} is a '
                    f'{type(section).__name__} of {len(section)}'
                    + ', which is overridden as a whole' *
                    (isinstance(section, tuple) or last))
            section = section[int(name)]
        elif isinstance(section, (dict, Config)):
            if any(not isinstance(other, str) for other in section):
                raise OverrideError(
                    f'{key}={value} has no place: the keys of {place} are '
                    'not text')
            if name not in section:
                return
            section = section[name]
        else:
            raise OverrideError(f'{key}={value} has no place: {place} is '
                                f'{section}')


def _check_new(key: str, value: Any, plain: Config, config: Config) -> None:
    """Refuse a key that the config does not have and nothing takes.

    Raises:
        OverrideError: If it is one.
    """
    before: Any = plain
    after: Any = config
    path = key.split('.')
    for depth, name in enumerate(path):
        section = '.'.join(path[:depth])
        if isinstance(after, (list, tuple)):
            if not isinstance(before, (list, tuple)):
                return
            before, after = before[int(name)], after[int(name)]
            continue
        if not isinstance(before, (dict, Config)):
            return  # a new value, as a whole
        if name not in before and name not in RESERVED:
            known = _known(section, after, config)
            new = config.get(name) if not section else after[name]
            own_type = isinstance(new, dict) and 'type' in new
            if known is not None and name not in known and not (
                    section == 'default_hooks' and own_type):
                raise OverrideError(
                    f'{key}={value} changes nothing: nothing takes '
                    f'{name} in {section or "the config"}'
                    f'{_nearest(path, depth, known | set(before), plain)}')
            return
        before, after = before.get(name), after.get(name)


def _nearest(path: List[str], depth: int, known: Set[str],
             config: Config) -> str:
    """The nearest known key, and others of the name elsewhere."""
    near = difflib.get_close_matches(path[depth], sorted(known), 1)
    if near:
        return f'; did you mean {".".join([*path[:depth], near[0]])}?'
    counts = what_counts('.'.join(path), config)
    if not counts:
        names = {keys[-1] for keys, _ in _walk(_effective(config))}
        for name in difflib.get_close_matches(path[-1], sorted(names), 1):
            counts = what_counts(name, config)
    return _hint(counts)


def _known(section: str, value: Any, config: Config) -> Optional[Set[str]]:
    """Keys that the reader of a section takes; None if nobody knows."""
    if not section:
        arguments = _runner_arguments(config)
        return None if arguments is None else arguments | TOP_LEVEL
    top = section.split('.')[0]
    if section in SECTIONS:
        return SECTIONS[section]
    if section == 'randomness':
        return _arguments(set_random_seed)
    if section == top and top.endswith('_dataloader'):
        return _arguments(DataLoader.__init__) | DATA_LOADER
    types = (value['type'], ) if 'type' in value else DEFAULT_TYPES.get(
        section, ())
    found: Set[str] = set()
    for type_ in types:
        owner = _find(type_, config)
        names = None if owner is None else _keywords(owner)
        if names is None:
            return None
        found |= names
    extra = BUILDER_ARGUMENTS.get(top, set())
    return found | extra if types else None


def _find(type_: Any, config: Config) -> Any:
    """The class of a name, wherever it is registered, or None."""
    if not isinstance(type_, str):
        return type_
    registries = [
        registry for registry in vars(mmaction.registry).values()
        if isinstance(registry, Registry)
    ] + [mmengine_runner.RUNNERS, mmengine_runner.LOOPS]
    scope = config.get('default_scope') or 'mmaction'
    with DefaultScope.overwrite_default_scope(scope):
        for registry in registries:
            try:
                found = registry.get(type_)
            except Exception:  # of a package that is not there
                continue
            if found is not None:
                return found
    return None


def _keywords(owner: Any) -> Optional[Set[str]]:
    """Arguments that a class takes; None if it takes any."""
    if not inspect.isclass(owner):
        return _arguments(owner) if callable(owner) else None
    names: Set[str] = set()
    open_ = False  # keyword arguments are passed on, or read
    for base in owner.__mro__[:-1]:  # without object
        init = vars(base).get('__init__')
        if init is None:
            continue
        parameters = inspect.signature(init).parameters.values()
        names |= {parameter.name for parameter in parameters}
        rest = [parameter.name for parameter in parameters
                if parameter.kind is parameter.VAR_KEYWORD]
        code = inspect.unwrap(init)
        if not rest or not any(
                step.opname.startswith('LOAD') and step.argval == rest[0]
                for step in dis.get_instructions(code)):
            return names - {'self', *rest}
        if base is CheckpointHook:
            names |= _arguments(Runner.save_checkpoint)  # it passes them on
            return names - {'self', *rest}
        open_ = True
    return None if open_ else names


def _arguments(function: Any) -> Set[str]:
    return set(inspect.signature(function).parameters) - {'self'}
