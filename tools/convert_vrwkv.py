# Copyright (c) The mmlcr authors. All rights reserved.
"""Turn a published Vision-RWKV (VRWKV6) image model into weights of LCR."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('convert')
