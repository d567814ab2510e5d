# Copyright (c) The mmlcr authors. All rights reserved.
"""What the command-line tools share."""
from .complexity import (
    add_model_arguments,
    build_model_and_clip,
    multiply_adds,
    num_parameters,
)
from .launch import (
    add_common_arguments,
    add_config_arguments,
    build_runner,
    load_config,
    set_work_dir,
)

__all__ = [
    'add_common_arguments', 'add_config_arguments', 'add_model_arguments',
    'build_model_and_clip', 'build_runner', 'load_config', 'multiply_adds',
    'num_parameters', 'set_work_dir'
]
