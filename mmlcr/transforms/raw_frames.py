# Copyright (c) The mmlcr authors. All rights reserved.
"""Folders of frames that are given by their path alone."""
import os
import os.path as osp
import re

from mmcv.transforms import BaseTransform

from mmaction.registry import TRANSFORMS

NUMBERED = re.compile(r'(?!\.)(\D*)(\d+)(\.(?:bmp|jpe?g|png|tiff?|webp))')


@TRANSFORMS.register_module()
class RawFrameInit(BaseTransform):
    """Count the frames of a folder, where no list has done it.

    A data set tells how many frames a clip has and how they are named.
    MMAction2's ``inference_recognizer`` gives a path alone: of a folder it is
    told here, and a video is refused by name.

    Required Keys:

    - total_frames, or else filename: path of a folder of numbered images

    Added Keys:

    - frame_dir: the folder
    - total_frames: images in it
    - filename_tmpl: how they are named
    - start_index: number of the first

    Raises:
        ValueError: If the path is no folder, or has no numbered images.
    """

    def transform(self, results: dict) -> dict:
        """Leave what a list has told, or look into the folder."""
        if 'total_frames' in results:
            return results
        folder = results.get('frame_dir') or results['filename']
        if not osp.isdir(folder):
            raise ValueError(
                f'{folder}: this config reads folders of frames; for videos '
                'take one whose pipelines begin with VideoInit, such as '
                'configs/lcr_jester_videos.py beside configs/lcr_jester.py')
        found = [
            match for match in map(NUMBERED.fullmatch, os.listdir(folder))
            if match
        ]
        if not found:
            raise ValueError(f'{folder}: no numbered images, such as '
                             '00001.jpg')
        numbers = sorted(int(match[2]) for match in found)
        digits = min(len(match[2]) for match in found)
        name, _, suffix = found[0].groups()
        results.update(
            frame_dir=folder,
            total_frames=len(numbers),
            filename_tmpl=f'{name}{{:0{digits}}}{suffix}',
            start_index=numbers[0])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
