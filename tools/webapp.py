# Copyright (c) The mmlcr authors. All rights reserved.
"""A page that recognizes the actions in a clip or before a camera."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('page')
