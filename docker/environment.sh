#!/bin/sh
# Makes the Python environment in the folder named: exact versions, this project in it.
#   PYTHON       the interpreter (3.11)
#   EXTRAS       "[test]" by default, "" for what only runs
#   TORCH_INDEX  where to take torch from; without it PyPI's, which brings CUDA
set -eu

venv=$1
python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
if ! "${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    echo "Python 3.11 is needed (Debian 12 has it): PYTHON=/path/to/python3.11 make env" >&2
    exit 1
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
[ -z "${CI:-}" ] || export PIP_PROGRESS_BAR=off

echo "making $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
if [ -n "${TORCH_INDEX:-}" ]; then
    "$venv/bin/pip" install -q -c constraints.txt --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple torch
fi
"$venv/bin/pip" install -q --use-pep517 -c constraints.txt -e ".${EXTRAS-[test]}"
"$venv/bin/pip" check
"$venv/bin/python" -m compileall -q server processes catalog tiles workers # 0.1 s of a first start
