# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr warmup``."""
import argparse

DESCRIPTION = ("Compile Numba's kernels, once on a machine, instead of in the "
               'background of the first inference.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser; there are none."""
