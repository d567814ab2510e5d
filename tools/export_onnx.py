# Copyright (c) The mmlcr authors. All rights reserved.
"""Write a step of a stream as an ONNX graph, as ``mmlcr export`` does."""
from mmlcr_cli import run

if __name__ == '__main__':
    run('export')
