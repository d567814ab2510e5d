# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr scan: decode every clip of a config's lists and report bad ones."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('scan')
