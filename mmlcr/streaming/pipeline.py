# Copyright (c) The mmlcr authors. All rights reserved.
"""The parts of a config's pipeline that a stream uses."""
from typing import List, Sequence, Tuple


def split_pipeline(pipeline: Sequence[dict]) -> Tuple[dict, List[dict]]:
    """A pipeline's sampler, and what comes after decoding.

    Raises:
        ValueError: If it has none, or does not decode.
    """
    samplers = [step for step in pipeline if 'clip_len' in step]
    decoders = [
        index for index, step in enumerate(pipeline)
        if step['type'].endswith('Decode')
    ]
    if not samplers or not decoders:
        names = ', '.join(step['type'] for step in pipeline)
        raise ValueError('a pipeline without a sampler of clips or without '
                         f'a decoder: {names}')
    return samplers[0], list(pipeline[decoders[-1] + 1:])
