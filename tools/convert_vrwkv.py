# Copyright (c) The mmlcr authors. All rights reserved.
"""Turn Vision-RWKV image weights into weights of LCR, as ``mmlcr convert`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('convert')
