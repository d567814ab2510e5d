# Copyright (c) The mmlcr authors. All rights reserved.
"""The commands, a module each with its arguments."""
from typing import Dict

# a line each, by purpose
GROUPS: Dict[str, Dict[str, str]] = {
    'data': {
        'prepare': 'turn a folder of clips into lists and a config',
        'prepare-public': 'write the lists of Kinetics-400, SSv2 or Jester',
        'scan': "decode every clip of a config's lists and report bad ones",
        'motion': 'render the motion set, on which the demo is trained',
        'people': 'render people who move by random programs, to look at',
    },
    'training and testing': {
        'configs': 'list the configs and models that come with the package',
        'train': 'train a recognizer',
        'test': 'test a checkpoint',
        'sweep': 'train and test over variants, folds and seeds',
        'curve': 'measure accuracy over the number of people and of steps',
        'compare': "train MMAction2's small models on the same clips",
        'analyze': 'plot learning curves, confusion and accuracy by class',
        'check-resume': 'kill a training at random and compare the outcome',
    },
    'inference': {
        'stream': 'recognize actions in a video, camera or network stream',
        'page': 'serve a web page for clips and cameras',
        'visualize': 'draw edge maps, forget gate, state and Grad-CAM',
        'features': 'write the features of clips to .npy files',
        'stream-accuracy': 'measure the accuracy by frame on long streams',
    },
    'models': {
        'export': 'write a step of a stream as an ONNX graph',
        'convert': 'turn Vision-RWKV image weights into weights of LCR',
        'warmup': "compile Numba's kernels before the first inference",
        'publish': 'write weights and class names without training state',
        'benchmark': "time the model beside attention and MMAction2's models",
        'flops': 'count parameters and multiply-adds',
    },
}
COMMANDS: Dict[str, str] = {
    name: summary
    for group in GROUPS.values() for name, summary in group.items()
}
