# Copyright (c) The mmlcr authors. All rights reserved.
"""The bidirectional WKV operator, pure functions on tensors."""
from .bi_wkv import BiWKVDecays, bi_wkv, bi_wkv_chunked, bi_wkv_decays
from .into import into
from .naive import bi_wkv_naive

__all__ = [
    'BiWKVDecays', 'bi_wkv', 'bi_wkv_chunked', 'bi_wkv_decays', 'bi_wkv_naive',
    'into'
]
