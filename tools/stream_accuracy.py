# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr stream-accuracy: measure the accuracy by frame on long streams."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('stream-accuracy')
