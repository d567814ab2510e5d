# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr motion: render the motion set, on which the demo is trained."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('motion')
