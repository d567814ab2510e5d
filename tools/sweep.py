# Copyright (c) The mmlcr authors. All rights reserved.
"""Train and test a config over variants, folds and seeds; tabulate top-1."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('sweep')
