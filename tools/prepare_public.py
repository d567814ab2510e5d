# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr prepare-public: write the lists of Kinetics-400, SSv2 or Jester."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('prepare-public')
