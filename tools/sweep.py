# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr sweep: train and test over variants, folds and seeds."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('sweep')
