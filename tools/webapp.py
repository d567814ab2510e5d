# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr page: serve a web page for clips and cameras."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('page')
