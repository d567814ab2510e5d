# Copyright (c) The mmlcr authors. All rights reserved.
"""Arguments of ``mmlcr prepare-public``."""
import argparse

DESCRIPTION = (
    'Write the lists of a public data set as its config reads them, from the '
    "owners' files in ROOT/annotations; docs/datasets.md has the steps. Clips "
    'that are missing are listed in ROOT/missing_{train,val}.txt. The exit '
    "code is 1 if there are any, or if the owners' files have another number "
    'of clips than was published.')
DATASETS = 'k400', 'ssv2', 'jester'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument('dataset', choices=DATASETS)
    parser.add_argument(
        '--data-root',
        metavar='ROOT',
        help="folder of the lists and clips instead of the config's; the same "
        'as the environment variable LCR_DATA_ROOT')
    parser.add_argument(
        '--videos',
        action='store_true',
        help='read Jester as ROOT/videos/ID.mp4 (or another container), for '
        'configs/lcr_jester_videos.py; default: ROOT/rawframes/ID/00001.jpg')
