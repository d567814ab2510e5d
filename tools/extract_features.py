# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr features: write the features of clips to .npy files."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('features')
