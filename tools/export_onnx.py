# Copyright (c) The mmlcr authors. All rights reserved.
"""Write a step of a stream as ONNX, and run it against PyTorch."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('export')
