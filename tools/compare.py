# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr compare: small models of MMAction2 on the same clips, in one table."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('compare')
