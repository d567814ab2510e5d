# Copyright (c) The mmlcr authors. All rights reserved.
"""Count the parameters and multiply-adds of a config's recognizer."""
import argparse

from mmlcr.deploy import multiply_adds, num_parameters
from .errors import exit_on
from .launch import CONFIG_ERRORS
from .models import build_model_and_clip, recognizer_inputs


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    model, clip = build_model_and_clip(args)
    print(f'clip: {args.shape[0]} frames of {args.shape[1]}x{args.shape[2]}')
    print(f'parameters: {num_parameters(model) / 1e6:.2f} M')
    count = multiply_adds(model, recognizer_inputs(model, clip))
    print(f'multiply-adds: {count / 1e9:.2f} G')
