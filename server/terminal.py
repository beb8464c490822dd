"""What every command shares: exit codes, the request file, a progress bar."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DONE, FAILED, BAD_INPUT = 0, 1, 2


def read_request(path: Path) -> dict[str, Any]:
    """Return an OGC execute request. Raises InvalidInput."""
    from processes.core.errors import InvalidInput

    try:
        request = json.loads(path.read_bytes())  # in UTF-8, 16 or 32
    except OSError:
        raise InvalidInput(f"{path} cannot be read: give an OGC execute request") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not valid JSON: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), dict):
        raise InvalidInput(f'{path} is not an execute request: expected {{"inputs": {{…}}}}')
    return request


class ProgressBar:
    """A bar on a terminal, a line at every new message elsewhere."""

    def __enter__(self) -> ProgressBar:
        self._said = ""
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            shape = "{percentage:3.0f}% |{bar:30}| {elapsed} {desc}"
            self._bar = tqdm(total=100, file=sys.stderr, bar_format=shape)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, fraction: float, message: str) -> None:
        """Move to *fraction* (0…1) and show *message*."""
        if self._bar is not None:
            self._bar.n = round(100 * fraction)
            self._bar.set_description_str(message)
        elif message != self._said:
            print(f"{100 * fraction:3.0f}% {message}", file=sys.stderr)
        self._said = message
