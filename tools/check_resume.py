# Copyright (c) The mmlcr authors. All rights reserved.
"""Kill a training again and again, and compare it with one that was not."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('check-resume')
