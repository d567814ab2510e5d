# Copyright (c) The mmlcr authors. All rights reserved.
"""Test a checkpoint; the arguments are those of MMAction2's own tool."""
import argparse

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmlcr.cli.arguments import add_common_arguments
from mmlcr.cli.launch import (
    build_runner,
    ending_with_errors,
    load_config,
    set_work_dir,
)
from mmlcr.datasets import report_failed_clips


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a recognizer')
    parser.add_argument(
        'config', help='config file; those of the package by their name')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--dump', help='write the predictions to this pickle file')
    for name in ('--show', '--show-dir', '--interval', '--wait-time'):
        parser.add_argument(
            name, nargs='?', const=True, help=argparse.SUPPRESS)
    add_common_arguments(parser)
    args = parser.parse_args()
    if args.show or args.show_dir or args.interval or args.wait_time:
        parser.error("MMAction2's VisualizationHook cannot draw clips of "
                     'this shape: draw a video with tools/visualize.py')
    if args.dump and not args.dump.endswith(('.pkl', '.pickle')):
        parser.error(f'--dump must end in .pkl or .pickle, got {args.dump}')
    return args


@ending_with_errors()
def main() -> None:
    args = parse_args()
    config = load_config(args)
    set_work_dir(config, args)
    config.load_from = args.checkpoint
    if args.dump:
        evaluators = config.test_evaluator
        if not isinstance(evaluators, (list, tuple)):
            evaluators = [evaluators]
        config.test_evaluator = [
            *evaluators,
            dict(type='DumpResults', out_file_path=args.dump)
        ]
    runner = build_runner(config, args)
    with report_failed_clips(runner):
        runner.test()


if __name__ == '__main__':
    main()
