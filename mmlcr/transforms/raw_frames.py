# Copyright (c) The mmlcr authors. All rights reserved.
"""Folders of frames that are given by their path only."""
import os
import os.path as osp
import re

from mmcv.transforms import BaseTransform

from mmaction.registry import TRANSFORMS

NUMBERED = re.compile(r'(?!\.)(\D*)(\d+)(\.(?:bmp|jpe?g|png|tiff?|webp))')


@TRANSFORMS.register_module()
class RawFrameInit(BaseTransform):
    """Count the frames of a folder that is not from an annotation list.

    A data set adds the number of frames of a clip and the pattern of their
    names. MMAction2's ``inference_recognizer`` passes only a path: this
    transform then adds both for a folder.

    Required Keys:

    - total_frames, or filename: path of a folder of numbered images

    Added Keys:

    - frame_dir: the folder
    - total_frames: number of images in it
    - filename_tmpl: pattern of their names
    - start_index: number of the first image

    Raises:
        ValueError: If the path is not a folder, or has no numbered images.
    """

    def transform(self, results: dict) -> dict:
        """Count the frames of a folder, unless a data set has done it."""
        if 'total_frames' in results:
            return results
        folder = results.get('frame_dir') or results['filename']
        if not osp.isdir(folder):
            raise ValueError(
                f'{folder}: this config reads folders of frames; for videos '
                'take one whose pipelines begin with VideoInit, such as '
                'configs/lcr_jester_videos.py beside configs/lcr_jester.py')
        images = [
            match for match in map(NUMBERED.fullmatch, os.listdir(folder))
            if match
        ]
        if not images:
            raise ValueError(f'{folder}: no numbered images, such as '
                             '00001.jpg')
        numbers = sorted(int(match[2]) for match in images)
        digits = min(len(match[2]) for match in images)
        name, _, suffix = images[0].groups()
        results.update(
            frame_dir=folder,
            total_frames=len(numbers),
            filename_tmpl=f'{name}{{:0{digits}}}{suffix}',
            start_index=numbers[0])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
