# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the lists of Kinetics-400, SSv2 or Jester, as ``mmlcr prepare-public`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('prepare-public')
