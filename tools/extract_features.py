# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the features of a list's clips, as the head reads them, to .npy."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('features')
