# Copyright (c) The mmlcr authors. All rights reserved.
"""mmlcr export: write a step of a stream as an ONNX graph."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('export')
