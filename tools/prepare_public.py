# Copyright (c) The mmlcr authors. All rights reserved.
"""Lists of Kinetics-400, Something-Something V2 and Jester."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('prepare-public')
