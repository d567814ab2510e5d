# Copyright (c) The mmlcr authors. All rights reserved.
"""Train a recognizer; the arguments are those of MMAction2's own tool."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('train')
