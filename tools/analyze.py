# Copyright (c) The mmlcr authors. All rights reserved.
"""Learning curves, and what a test's predictions are worth, class by class."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('analyze')
