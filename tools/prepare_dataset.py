# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr prepare: turn a folder of clips into lists and a config."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('prepare')
