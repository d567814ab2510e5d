# Copyright (c) The mmlcr authors. All rights reserved.
import argparse, os
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
p=argparse.ArgumentParser(); p.add_argument('config'); p.add_argument('--work-dir'); p.add_argument('--seed',type=int); p.add_argument('--cfg-options',nargs='+',action=DictAction)
a=p.parse_args()
cfg=Config.fromfile(a.config); cfg.work_dir=a.work_dir
if a.cfg_options: cfg.merge_from_dict(a.cfg_options)
if a.seed is not None: cfg.randomness=dict(seed=a.seed)
Runner.from_cfg(cfg).train()
