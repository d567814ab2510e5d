# Copyright (c) The mmlcr authors. All rights reserved.
"""Count the parameters and multiply-adds of a config's recognizer."""
import argparse

from mmlcr.cli.arguments import add_model_arguments
from mmlcr.cli.launch import ending_with_errors
from mmlcr.cli.models import build_model_and_clip
from mmlcr.deploy import multiply_adds, num_parameters


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count parameters and multiply-adds of a clip')
    add_model_arguments(parser)
    return parser.parse_args()


@ending_with_errors()
def main() -> None:
    args = parse_args()
    model, clip = build_model_and_clip(args)
    print(f'clip: {args.shape[0]} frames of {args.shape[1]}x{args.shape[2]}')
    print(f'parameters: {num_parameters(model) / 1e6:.2f} M')
    print(f'multiply-adds: {multiply_adds(model, clip) / 1e9:.2f} G')


if __name__ == '__main__':
    main()
