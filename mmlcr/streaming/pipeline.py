# Copyright (c) The mmlcr authors. All rights reserved.
"""The parts of a config's pipeline that a stream uses."""
from typing import List, Sequence, Tuple

CROPS = 'center', 'all'  # of a frame, for a stream

def split_pipeline(pipeline: Sequence[dict]) -> Tuple[dict, List[dict]]:
    """Return a pipeline's frame sampler, and the transforms after decoding.

    Raises:
        ValueError: If the pipeline has no frame sampler or no decoder.
    """
    samplers = [step for step in pipeline if 'clip_len' in step]
    decoders = [
        index for index, step in enumerate(pipeline)
        if step['type'].endswith('Decode')
    ]
    if not samplers or not decoders:
        names = ', '.join(step['type'] for step in pipeline)
        raise ValueError('the pipeline has no frame sampler or no decoder: '
                         f'{names}')
    return samplers[0], list(pipeline[decoders[-1] + 1:])


def center_view(spatial: Sequence[dict]) -> List[dict]:
    """Replace transforms that take several crops of a frame.

    Args:
        spatial (sequence[dict]): The transforms after decoding.

    Returns:
        list[dict]: Transforms that take the crop in the middle alone.
    """
    return [
        dict(type='CenterCrop', crop_size=step['crop_size'])
        if step['type'] in ('ThreeCrop', 'TenCrop') else step
        for step in spatial
    ]
