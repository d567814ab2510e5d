# Copyright (c) The mmlcr authors. All rights reserved.
"""Time the model beside attention and MMAction2's models, as ``mmlcr benchmark`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('benchmark')
