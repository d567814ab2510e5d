# Copyright (c) The mmlcr authors. All rights reserved.
"""Learning rates decay from the head to the stem, for every weight."""
from typing import Any

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmaction.registry import MODELS

MODEL = dict(
    type='LCRRecognizer',
    backbone=dict(type='LCR', embed_dims=16, num_heads=2, num_layers=3,
                  patch_size=8, layer=dict(type='VRWKV6Layer'), stem='conv',
                  rotary=False,
                  position_grid=(2, 2), readout='attention'),
    cls_head=dict(type='LCRHead', num_classes=3, in_channels=32))


def rates(**paramwise: Any) -> dict:
    """Learning rate and weight decay of each weight, from 1 and 0.1."""
    model = MODELS.build(MODEL)
    wrapper = build_optim_wrapper(
        model,
        dict(constructor='LayerDecayConstructor',
             optimizer=dict(type='AdamW', lr=1., weight_decay=0.1),
             paramwise_cfg=paramwise))
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        names[id(p)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups for p in group['params']
    }
    assert found.keys() == {*names.values()}
    return found


def test_rates_by_depth() -> None:
    expected = {
        'backbone.stem.layers.0.weight': 0.5**4,
        'backbone.edge_stem.layers.0.weight': 0.5**4,
        'backbone.zero_conv.weight': 0.5**4,
        'backbone.cls_token': 0.5**4,
        'backbone.position': 0.5**4,
        'backbone.norm_0.weight': 0.5**4,
        'backbone.norm_e.weight': 0.5**4,
        'backbone.layers.0.key.weight': 0.5**3,
        'backbone.layers.1.past.weight': 0.5**2,
        'backbone.layers.2.memory_scale': 0.5,
        'backbone.norm_out.weight': 1.,
        'backbone.readout.norm.weight': 1.,
        'cls_head.fc_cls.weight': 1.,
    }
    found = rates(layer_decay=0.5)
    assert {name: found[name][0] for name in expected} == expected
    assert {rate for rate, _ in found.values()} == {
        0.5**n for n in range(5)
    }


def test_beside_other_options() -> None:
    found = rates(layer_decay=0.5, norm_decay_mult=0.,
                  custom_keys={'cls_head': dict(lr_mult=2.)})
    assert found['backbone.norm_out.weight'] == (1., 0.)
    assert found['backbone.layers.2.norm_x.weight'] == (0.5, 0.)
    assert found['cls_head.fc_cls.weight'] == (2., 0.1)


@pytest.mark.parametrize('paramwise', [
    dict(), dict(layer_decay=0.), dict(layer_decay=1.5)], ids=str)
def test_decays_that_are_none(paramwise: dict) -> None:
    with pytest.raises(ValueError, match=r'layer_decay in \(0, 1\], got'):
        rates(**paramwise)


def test_a_model_without_layers() -> None:
    with pytest.raises(ValueError, match='Linear has no layers'):
        build_optim_wrapper(
            nn.Linear(2, 2),
            dict(constructor='LayerDecayConstructor',
                 optimizer=dict(type='SGD', lr=1.),
                 paramwise_cfg=dict(layer_decay=0.5)))
