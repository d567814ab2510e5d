# Copyright (c) The mmlcr authors. All rights reserved.
"""Check the keys of overrides against what reads the config."""
import difflib
import dis
import inspect
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner, set_random_seed
from mmengine.runner import runner as mmengine_runner
from torch.utils.data import DataLoader

import mmaction.registry

Options = Dict[str, Any]
Path = Tuple[str, ...]

RESERVED = {'type', '_scope_', '_delete_'}
# keys that commands, streams and the runner read beside its arguments
TOP_LEVEL = {
    'train_pipeline', 'val_pipeline', 'test_pipeline', 'stream_fps', 'compile',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy',
    'sync_bn', 'custom_imports', 'init_weights_for_test_or_val',
    'activation_checkpointing', 'efficient_conv_bn_eval'
}
DATA_LOADER = {'type', 'num_batch_per_epoch'}
# classes that MMEngine uses where a section names none
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
# sections that are no arguments of a class
SECTIONS = {
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'default_hooks': {
        path.partition('.')[2]
        for path in DEFAULT_TYPES if path.startswith('default_hooks.')
    }
}
# arguments that the builder of a class consumes
BUILDER_ARGUMENTS = {
    'param_scheduler': {'convert_to_iter_based'},
    'train_cfg': {'by_epoch'},
    'optim_wrapper': {'constructor', 'paramwise_cfg'}
}


class OverrideError(ValueError):
    """An override that does not fit the config, or changes nothing."""


def runner_arguments(config: Config) -> Optional[Set[str]]:
    """Return the arguments of the config's runner, or None if unknown."""
    if 'runner_type' not in config:
        return arguments_of(Runner.__init__)
    runner = _find(config.runner_type, config)
    return None if runner is None else _keywords(runner)


def walk(value: Any, path: Path = ()) -> Iterator[Tuple[Path, Any]]:
    """Yield every path of a nested value with the value there."""
    if path:
        yield path, value
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, inner in items:
        yield from walk(inner, (*path, str(key)))


def imports_others(config: Config) -> bool:
    """Whether the config imports user code, which may read any key."""
    imports = config.get('custom_imports') or {}
    names = imports.get('imports') or []
    return any(name != 'mmlcr'
               for name in ([names] if isinstance(names, str) else names))


def check_place(key: str, value: Any, config: Config) -> None:
    """Check that a key leads to a place in the config.

    Raises:
        OverrideError: If it leads into a number or beyond the end of a list.
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


def check_new(key: str, value: Any, plain: Config, config: Config) -> None:
    """Check that something reads a key that the override adds.

    Raises:
        OverrideError: If nothing does.
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
    """Return a hint at the nearest known key, or at the name elsewhere."""
    near = difflib.get_close_matches(path[depth], sorted(known), 1)
    if near:
        return f'; did you mean {".".join([*path[:depth], near[0]])}?'
    counts = what_counts('.'.join(path), config)
    if not counts:
        names = {keys[-1] for keys, _ in walk(effective(config))}
        for name in difflib.get_close_matches(path[-1], sorted(names), 1):
            counts = what_counts(name, config)
    return hint(counts)


def _known(section: str, value: Any, config: Config) -> Optional[Set[str]]:
    """Return the keys that the reader of a section takes, None if unknown."""
    if not section:
        arguments = runner_arguments(config)
        return None if arguments is None else arguments | TOP_LEVEL
    top = section.split('.')[0]
    if section in SECTIONS:
        return SECTIONS[section]
    if section == 'randomness':
        return arguments_of(set_random_seed)
    if section == top and top.endswith('_dataloader'):
        return arguments_of(DataLoader.__init__) | DATA_LOADER
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
    """Return the registered class of a name, or None."""
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
            except Exception:  # its package is not installed
                continue
            if found is not None:
                return found
    return None


def _keywords(owner: Any) -> Optional[Set[str]]:
    """Return the arguments of a class, or None if it takes any."""
    if not inspect.isclass(owner):
        return arguments_of(owner) if callable(owner) else None
    names: Set[str] = set()
    open_ = False  # whether keyword arguments are passed on or read
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
            names |= arguments_of(Runner.save_checkpoint)  # it passes them on
            return names - {'self', *rest}
        open_ = True
    return None if open_ else names


def arguments_of(function: Any) -> Set[str]:
    """Return the names of a function's arguments."""
    return set(inspect.signature(function).parameters) - {'self'}


def what_counts(key: str, config: Config) -> List[str]:
    """Return keys with an effect that an ineffective one may stand for."""
    top, *rest = key.split('.')
    paths = dict(walk(effective(config)))
    found = []
    if isinstance(config.get(top), (dict, list)):
        found = [
            '.'.join((*path, *rest)) for path, value in paths.items()
            if path != (top, ) and value == config[top]
            and (*path, *rest) in paths
        ]
    name = key.split('.')[-1]
    return found or ['.'.join(path) for path in paths if path[-1] == name]


def effective(config: Config) -> Dict[str, Any]:
    """Return the part of a config that something reads."""
    arguments = runner_arguments(config)
    return {
        key: value
        for key, value in config.items()
        if arguments is None or key in arguments or key in TOP_LEVEL
    }


def hint(keys: List[str], one: str = 'would count',
         many: str = 'would count') -> str:
    """Format the keys that would have an effect, to end an error with."""
    if not keys:
        return ''
    return f'; {", ".join(keys[:4])} {one if len(keys) == 1 else many}'
