# Copyright (c) The mmlcr authors. All rights reserved.
"""``mmlcr configs``: the configs and models that come with the package."""
import argparse
import os
import os.path as osp
from typing import Dict, Iterator, Tuple

from ..package import config_folder, package_folder

DESCRIPTION = ('List the configs that come with the package, and the trained '
               'models, which any command takes as a checkpoint.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.add_argument(
        '--paths', action='store_true', help='print the paths of the files')


def main(args: argparse.Namespace) -> None:
    """Print both tables."""
    print('configs, for example "mmlcr train configs/lcr_motion.py":')
    print_table(args, {
        (f'configs/{name}', osp.join(config_folder(), name)): summary
        for name, summary in config_summaries()
    })
    print('\nmodels, for example "mmlcr stream configs/lcr_motion.py '
          'mmlcr://lcr_motion clip.mp4":')
    print_table(args, {
        (f'mmlcr://{osp.splitext(name)[0]}',
         osp.join(package_folder(), 'zoo', name)): summary
        for name, summary in model_summaries()
    })


def print_table(args: argparse.Namespace,
                rows: Dict[Tuple[str, str], str]) -> None:
    """Print names, or paths, with a line each."""
    width = max(len(name[args.paths]) for name in rows) + 2
    for name, summary in rows.items():
        print(f'  {name[args.paths]:{width}}{summary}')


def config_summaries() -> Iterator[Tuple[str, str]]:
    """Yield the file name and first comment of each config."""
    folder = config_folder()
    for name in sorted(os.listdir(folder)):
        if name.endswith('.py'):
            with open(osp.join(folder, name), encoding='utf-8') as file:
                yield name, file.readline().lstrip('# ').rstrip()


def model_summaries() -> Iterator[Tuple[str, str]]:
    """Yield the file name of each model, and by which config it is."""
    import yaml  # takes longer to import than all else here

    index = osp.join(config_folder(), 'recognition', 'lcr', 'metafile.yml')
    with open(index, encoding='utf-8') as file:
        models = yaml.safe_load(file)['Models']
    folder = osp.join(package_folder(), 'zoo')
    for name in sorted(os.listdir(folder)):
        stem, ending = osp.splitext(name)
        if ending != '.safetensors':
            continue
        size = osp.getsize(osp.join(folder, name)) / 1e6
        entry = next(
            m for m in models if m.get('Weights') == f'mmlcr://{stem}')
        result = entry['Results'][0]
        accuracy = result['Metrics']['Top 1 Accuracy']
        yield name, (f'{size:.1f} MB, {entry["Config"]}, top-1 {accuracy} % '
                     f'on {result["Dataset"]}')
