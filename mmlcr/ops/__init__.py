# Copyright (c) The mmlcr authors. All rights reserved.
"""The bidirectional WKV operator, token shift and rotary position."""
from .bi_wkv import (
    BiWKVDecays,
    BiWKVMemory,
    bi_wkv,
    bi_wkv_decays,
    bi_wkv_memory,
    bi_wkv_read,
)
from .bi_wkv_tokens import bi_wkv_tokens
from .layout import TokenLayout, layout_from_mask
from .naive import bi_wkv_naive
from .rotary import rotary_table, rotate
from .token_shift import Neighbours, TokenShift
from .write_out import write_out

__all__ = [
    'BiWKVDecays', 'BiWKVMemory', 'Neighbours', 'TokenLayout', 'TokenShift',
    'bi_wkv', 'bi_wkv_decays', 'bi_wkv_memory', 'bi_wkv_naive', 'bi_wkv_read',
    'bi_wkv_tokens', 'layout_from_mask', 'rotary_table', 'rotate', 'write_out'
]
