# Copyright (c) The mmlcr authors. All rights reserved.
"""The bidirectional WKV operator, pure functions on tensors."""
from .bi_wkv import (
    BiWKVDecays,
    BiWKVMemory,
    bi_wkv,
    bi_wkv_decays,
    bi_wkv_memory,
    bi_wkv_read,
)
from .bi_wkv_tokens import bi_wkv_tokens
from .into import into
from .naive import bi_wkv_naive

__all__ = [
    'BiWKVDecays', 'BiWKVMemory', 'bi_wkv', 'bi_wkv_decays', 'bi_wkv_memory',
    'bi_wkv_naive', 'bi_wkv_read', 'bi_wkv_tokens', 'into'
]
