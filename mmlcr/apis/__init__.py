# Copyright (c) The mmlcr authors. All rights reserved.
"""What the command-line tools share."""
from .launch import (
                     add_common_arguments,
                     add_config_arguments,
                     build_runner,
                     load_config,
                     set_work_dir,
)

__all__ = [
    'add_common_arguments', 'add_config_arguments', 'build_runner',
    'load_config', 'set_work_dir'
]
