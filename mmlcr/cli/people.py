# Copyright (c) The mmlcr authors. All rights reserved.
"""Render people who move by random programs as videos, or as one picture."""
import argparse
import io
import os
import os.path as osp
from typing import Iterator, Tuple

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmlcr.engine import atomic_write
from mmlcr.people import FPS, render_clip, sample_scene
from mmlcr.video import VideoWriter
from .errors import INPUT_ERRORS, exit_on

SHEET_FRAMES, SHEET_INTERVAL, SHEET_COLUMNS = 8, 3 / FPS, 2


def clips(args: argparse.Namespace,
          times: np.ndarray) -> Iterator[Tuple[str, np.ndarray]]:
    """Yield the name and the frames of each clip."""
    numbers = [(label, number) for label in range(args.programs)
               for number in range(args.clips)]
    for label, number in track_iter_progress(numbers):
        scene = sample_scene(np.random.default_rng([args.seed, label]))
        rng = np.random.default_rng([args.seed, label, number])
        yield f'{label:03d}_{number}', render_clip(scene, rng, times,
                                                   tuple(args.size))
    print()


def write_sheet(args: argparse.Namespace) -> None:
    """Write a picture with some frames of each clip in a row."""
    times = SHEET_INTERVAL * np.arange(SHEET_FRAMES)
    rows = [np.concatenate([*frames], axis=1)
            for _, frames in clips(args, times)]
    rows += [np.zeros_like(rows[0])] * (-len(rows) % SHEET_COLUMNS)
    height = len(rows) // SHEET_COLUMNS
    columns = [np.concatenate(rows[start:start + height])
               for start in range(0, len(rows), height)]
    data = io.BytesIO()
    kind = osp.splitext(args.sheet)[1].lower()
    Image.fromarray(np.concatenate(columns, axis=1)).save(
        data, Image.registered_extensions().get(kind, 'PNG'), quality=90)
    atomic_write(data.getvalue(), args.sheet)
    print(f'{args.sheet}: {args.programs * args.clips} clips, '
          f'{SHEET_FRAMES} frames of each')


@exit_on(*INPUT_ERRORS)
def main(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.sheet:
        write_sheet(args)
        return
    os.makedirs(args.out, exist_ok=True)
    for name, frames in clips(args, np.arange(args.frames) / FPS):
        writer = VideoWriter(osp.join(args.out, f'{name}.mp4'), FPS)
        for frame in frames:
            writer.add(frame)
        writer.close()
    print(f'{args.out}: {args.programs * args.clips} clips of '
          f'{args.programs} programs')
