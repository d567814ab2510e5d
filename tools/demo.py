# Copyright (c) The mmlcr authors. All rights reserved.
"""Classify a video through MMAction2's inference API, and draw the result."""
import argparse
import os
import os.path as osp
import sys
from typing import List

import matplotlib
import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

import mmlcr  # noqa: F401  repairs the published stack before all else
from mmaction.apis import inference_recognizer, init_recognizer
from mmlcr.apis import add_config_arguments, class_names, load_config

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

COLUMNS = 8  # frames drawn of a clip


def clip_frames(pipeline: List[dict], video: str) -> np.ndarray:
    """The first clip that the test pipeline makes of a video.

    Returns:
        np.ndarray: RGB and edge map, uint8 ``(T, height, width, 4)``.
    """
    results = Compose(pipeline)(
        dict(filename=video, label=-1, start_index=0, modality='RGB'))
    return results['inputs'][0].permute(1, 2, 3, 0).numpy()


def draw(frames: np.ndarray, names: List[str], scores: List[float],
         title: str, path: str) -> None:
    """Save frames, edge maps and class scores as one picture."""
    shown = np.linspace(0, len(frames) - 1, min(COLUMNS, len(frames)))
    shown = shown.round().astype(int)
    figure = plt.figure(figsize=(1.4 * len(shown), 5), layout='constrained')
    grid = figure.add_gridspec(3, len(shown), height_ratios=(1, 1, 1.6))
    for column, index in enumerate(shown):
        for row, picture in enumerate(
            (frames[index, ..., :3], frames[index, ..., 3])):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(picture, cmap='gray')
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f'frame {index}', fontsize=8)
            if column == 0:
                axes.set_ylabel(('RGB', 'edge map')[row], fontsize=8)
    axes = figure.add_subplot(grid[2, :])
    axes.barh(names[::-1], scores[::-1], color='tab:blue')
    axes.set_xlim(0, 1)
    axes.set_xlabel('score')
    axes.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10)
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=120)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Classify a video and draw its frames, edge maps and '
        'class scores')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('video', help='video file')
    parser.add_argument('--out', default='demo.png', help='picture to write')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--topk', type=int, default=5, help='classes shown')
    add_config_arguments(parser)
    args = parser.parse_args()
    if not osp.isfile(args.video):
        parser.error(f'there is no video {args.video}')
    return args


def main() -> None:
    args = parse_args()
    config = load_config(args)
    init_default_scope(config.default_scope)
    names = class_names(config, args.checkpoint)
    model = init_recognizer(config, args.checkpoint, device=args.device)
    result = inference_recognizer(model, args.video)
    scores = result.pred_score.cpu().numpy()
    best = scores.argsort()[::-1][:args.topk]
    for index in best:
        print(f'{scores[index]:.3f}  {names[index]}')
    draw(
        clip_frames(config.test_pipeline, args.video),
        [names[i] for i in best], [float(scores[i]) for i in best],
        f'{osp.basename(args.video)}: {names[best[0]]}', args.out)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    sys.exit(main())
