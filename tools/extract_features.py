# Copyright (c) The mmlcr authors. All rights reserved.
"""Write the features of clips to .npy files, as ``mmlcr features`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('features')
