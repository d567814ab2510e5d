# Copyright (c) The mmlcr authors. All rights reserved.
"""Count the parameters and multiply-adds of a config's recognizer.

Matrix products and convolutions are counted as they run, the operator's
included; elementwise work is not, as is the custom.
"""
import argparse

import torch
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.registry import MODELS
from mmlcr.apis import add_config_arguments, load_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count parameters and multiply-adds of a clip')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        default=(16, 224, 224),
        metavar=('FRAMES', 'HEIGHT', 'WIDTH'))
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(args)
    init_default_scope(config.default_scope)
    model = MODELS.build(config.model).eval()
    parameters = sum(p.numel() for p in model.parameters())
    clip = torch.randn(1, 4, *args.shape)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.cls_head(model.backbone(clip))
    print(f'clip: {args.shape[0]} frames of {args.shape[1]}x{args.shape[2]}')
    print(f'parameters: {parameters / 1e6:.2f} M')
    # a multiply-add is two operations
    print(f'multiply-adds: {counter.get_total_flops() / 2e9:.2f} G')


if __name__ == '__main__':
    main()
