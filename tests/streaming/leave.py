# Copyright (c) The mmlcr authors. All rights reserved.
"""Leave a live stream in some way: ``python leave.py WAY ADDRESS``.

It imports only the reader of live streams, so that it starts fast.
"""
import sys
import time
import types
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / 'mmlcr'
for name, folder in (('mmlcr', ROOT), ('mmlcr.streaming',
                                            ROOT / 'streaming')):
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module

from mmlcr.streaming.frames import FrameRateFilter  # noqa: E402
from mmlcr.streaming.live import LatestFrameReader  # noqa: E402
from mmlcr.streaming.opening import open_source  # noqa: E402

warnings.simplefilter('ignore')
way, address = sys.argv[1:]
source = open_source(address, retries=0)
frames = iter(LatestFrameReader(source, FrameRateFilter(10.)))
for _ in frames:
    time.sleep(0.5)  # until its thread waits for frames, if none come
    if way == 'break':
        del frames
        break
    if way == 'forgotten':  # until the interpreter ends
        break
    if way == 'error':
        raise ValueError('in the consumer')
    if way == 'exit':
        sys.exit(3)
    if way == 'interrupt':
        raise KeyboardInterrupt
