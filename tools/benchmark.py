# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr benchmark: time the model beside attention and MMAction2's models."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('benchmark')
