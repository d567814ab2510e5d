# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr convert: turn Vision-RWKV image weights into weights of LCR."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('convert')
