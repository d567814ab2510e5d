# Copyright (c) The mmlcr authors. All rights reserved.
"""Options, clips and states that LCR refuses."""
from typing import Callable

import pytest
import torch
from lcr_cases import OPTIONS, PAPER, TINY, build, draw_clip, draw_mask

from mmlcr.models import LCR


@pytest.mark.parametrize('options, message', [
    (dict(embed_dims=18, num_heads=4), 'embed_dims=18 and num_heads=4'),
    (dict(embed_dims=24, num_heads=4), 'embed_dims=24 and num_heads=4'),
    (dict(num_heads=0), 'num_heads=0'),
    (dict(num_layers=0), 'num_layers=0'),
    (dict(stem_input='rgb'), "stem_input .*'rgb'"),
    (dict(patch_size=0), 'patch_size=0'),
    (dict(supervised_frames=0), 'supervised_frames=0'),
    (dict(stem='conv', patch_size=6), 'power of two, got 6'),
    (dict(stem='linear'), "'linear'"),
    (dict(cell='gru'), "'gru'"),
    (dict(cell_clip=-2.), 'cell_clip.*-2.0'),
    (dict(readout='max'), "'max'"),
],
                         ids=lambda value: '-'.join(
                             f'{k}={v}' for k, v in value.items())
                         if isinstance(value, dict) else 'refused')
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LCR(**{**TINY, **options})


@pytest.mark.parametrize('shape, message', [
    ((2, 3, 4, 20, 16), r'\(2, 3, 4, 20, 16\).*to_rgb'),
    ((2, 5, 4, 20, 16), r'\(2, 5, 4, 20, 16\)'),
    ((4, 4, 20, 16), r'\(4, 4, 20, 16\)'),
    ((2, 1, 4, 4, 20, 16), r'\(2, 1, 4, 4, 20, 16\)'),
    ((2, 4, 0, 20, 16), r'\(2, 4, 0, 20, 16\)'),
    ((2, 4, 4, 21, 16), 'patch size 4 .*21x16'),
    ((2, 4, 4, 20, 18), 'patch size 4 .*20x18'),
],
                         ids=[
                             'no-edges', 'five-channels', 'no-time', 'views',
                             'no-frames', 'height', 'width'
                         ])
def test_clips_that_do_not_fit(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LCR(**TINY)(torch.zeros(shape))


@pytest.mark.parametrize('shape, message', [
    ((2, 3, 20, 16), r'\(2, 3, 1, 20, 16\)'),
    ((2, 4, 22, 16), 'patch size 4 .*22x16'),
],
                         ids=['no-edges', 'height'])
def test_frames_that_do_not_fit(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LCR(**TINY).forward_step(torch.zeros(shape))


def test_states_that_do_not_fit(redraw: Callable) -> None:
    model, frame = build(redraw), draw_clip()[:, :, 0]
    _, state = model.forward_step(frame)
    with pytest.raises(ValueError, match=r'\(2, 2, 21, 16\).*\(1, 2, 21'):
        build(redraw, num_layers=1).forward_step(frame, state)
    with pytest.raises(ValueError, match=r'2, 21, 16\).*1, 21, 16\)'):
        model.forward_step(frame[:1], state)
    with pytest.raises(ValueError, match=r'\(2, 2, 21, 16\).*2, 17, 16\)'):
        model.forward_step(frame[:, :, :16], state)
    with pytest.raises(ValueError, match=r'h .*\(2, 2, 21, 16\).*4, 21, 16\)'):
        model.forward_step(frame, state._replace(windows=2))
    layers = state.layers
    for name, wrong in (('c', layers._replace(c=layers.c[:, :1])),
                        ('x', layers._replace(x=None))):
        with pytest.raises(ValueError, match=f'its {name} '):
            model.forward_step(frame, state._replace(layers=wrong))
    with pytest.raises(ValueError, match='its prompt .* None, not '):
        model.forward_step(frame, state._replace(prompt=None))
    with pytest.raises(ValueError, match='its prompt .*, not None'):
        build(redraw, **PAPER).forward_step(
            frame, state._replace(layers=layers._replace(x=None)))
    other = build(redraw, **OPTIONS['difference'])
    _, state = other.forward_step(frame)
    with pytest.raises(ValueError, match=r'its frame is \(2, 4, 20, 15\)'):
        other.forward_step(frame, state._replace(frame=frame[..., 1:]))
    _, masked = model.forward_frames(
        draw_clip(), tube_mask=draw_mask(2, 5, 4, 9))
    with pytest.raises(ValueError, match=r'2, 12, 16\).*2, 21, 16\)'):
        model.forward_step(frame, masked)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_tokens_in_half_precision_are_refused(dtype: torch.dtype) -> None:
    """As of a model that was built in it; ``model.half()`` leaves them."""
    model = LCR(embed_dims=16, num_heads=1, num_layers=1, patch_size=8,
                stem='conv')
    model.cls_token.data = model.cls_token.data.to(dtype)
    clip = torch.zeros(1, 4, 2, 16, 16, dtype=dtype)
    with pytest.raises(TypeError, match=f'{dtype}.*--amp.*test_cfg.fp16'):
        model(clip)
    with pytest.raises(TypeError, match='autocast'):
        model.forward_step(clip[:, :, 0])
