# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr check-resume: kill a training at random and compare the outcome."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('check-resume')
