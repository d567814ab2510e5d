# Copyright (c) The mmlcr authors. All rights reserved.
"""Train and test over variants, folds and seeds, as ``mmlcr sweep`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('sweep')
