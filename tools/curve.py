# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr curve: accuracy over the number of people and of steps."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('curve')
