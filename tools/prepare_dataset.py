# Copyright (c) The mmlcr authors. All rights reserved.
"""From a folder of clips to lists, class names and a config to train with."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('prepare')
