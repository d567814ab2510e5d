# Copyright (c) The mmlcr authors. All rights reserved.
"""Turn a folder of clips into lists and a config, as ``mmlcr prepare`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('prepare')
