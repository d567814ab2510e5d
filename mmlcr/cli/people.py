# Copyright (c) The mmlcr authors. All rights reserved.
"""Render people who move by random programs as videos."""
import argparse
import os
import os.path as osp

import numpy as np
from mmengine.utils import track_iter_progress

from mmlcr.people import FPS, render_clip, sample_scene
from mmlcr.video import VideoWriter
from .errors import INPUT_ERRORS, exit_on


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    os.makedirs(args.out, exist_ok=True)
    times = np.arange(args.frames) / FPS
    clips = [(label, number) for label in range(args.programs)
             for number in range(args.clips)]
    for label, number in track_iter_progress(clips):
        scene = sample_scene(np.random.default_rng([args.seed, label]))
        rng = np.random.default_rng([args.seed, label, number])
        path = osp.join(args.out, f'{label:03d}_{number}.mp4')
        writer = VideoWriter(path, FPS)
        for frame in render_clip(scene, rng, times, tuple(args.size)):
            writer.add(frame)
        writer.close()
    print(f'\n{args.out}: {len(clips)} clips of {args.programs} programs')
