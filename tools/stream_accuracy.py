# Copyright (c) The mmlcr authors. All rights reserved.
"""How right a model is on streams: test clips one after the other."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('stream-accuracy')
