# Copyright (c) The mmlcr authors. All rights reserved.
"""Test a checkpoint, with the arguments of MMAction2's own tool."""
import argparse

from mmlcr.datasets import report_failed_clips
from .errors import exit_on
from .launch import CONFIG_ERRORS, build_runner, load_config, set_work_dir


@exit_on(*CONFIG_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
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
