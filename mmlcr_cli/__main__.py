# Copyright (c) The mmlcr authors. All rights reserved.
"""``python -m mmlcr_cli`` is the command ``mmlcr``."""
from .main import main

if __name__ == '__main__':
    main()
