# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr flops: count parameters and multiply-adds."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('flops')
