# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr flops``."""
import argparse

from ..arguments import add_model_arguments

DESCRIPTION = ("Count the parameters of a config's recognizer and the "
               'multiply-adds of a clip.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    add_model_arguments(parser)
