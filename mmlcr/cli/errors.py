# Copyright (c) The mmlcr authors. All rights reserved.
"""How a command ends when its input is wrong."""
import contextlib
import sys
from typing import Iterator, Type

from mmlcr.datasets import ClipError
from mmlcr.engine import UnreadableFileError
from mmlcr.video import SourceError

# what files, clips and values that a user passes can raise
INPUT_ERRORS = (ClipError, OSError, SourceError, UnreadableFileError,
                ValueError)


@contextlib.contextmanager
def exit_on(*kinds: Type[Exception]) -> Iterator[None]:
    """Turn exceptions into one line on standard error and exit code 1.

    Args:
        kinds (type[Exception]): Exceptions that say all that the user needs;
            others keep their traceback.
    """
    try:
        yield
    except BrokenPipeError:  # ends any command, see mmlcr_cli.main.run
        raise
    except kinds as error:
        sys.exit(f'{type(error).__name__}: {error}')
