"""`orograph`: the whole stack, one process without a stack, a request to a server, the API text.

Exit codes: 0 done, 1 failed, 2 bad input. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import argparse
import atexit
import ctypes
import gc
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from server.terminal import BAD_INPUT, DONE, FAILED, ProgressBar, read_request

HEAP_BYTES, PAGE_BYTES = 1000 << 20, 2 << 20
"""How much memory comes in large pages, of which none is taken before it is used; and their size.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command, which imports what it takes, and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        print("orograph: stopped", file=sys.stderr)
        return FAILED
    except Exception as error:
        code, said = _told(error)
        if code == FAILED and os.environ.get("OROGRAPH_DEBUG"):
            raise
        print(f"orograph: {said}", file=sys.stderr)
        return code


def _told(error: Exception) -> tuple[int, str]:
    """Return the exit code and the line for an error that ended a command."""
    from pydantic import ValidationError

    from processes.core.errors import OrographError

    name = type(error).__name__
    if isinstance(error, OrographError):
        return BAD_INPUT, f"{name}: {error}"
    if isinstance(error, ValidationError) and error.title == "Settings":
        first = error.errors(include_url=False, include_input=False)[0]
        setting = "_".join(["OROGRAPH", *(str(part).upper() for part in first["loc"][:1])])
        return BAD_INPUT, f"{setting}: {first['msg']}"
    return FAILED, f"failed: {name}: {error} (OROGRAPH_DEBUG=1 shows where)"


def _reuse_memory() -> None:
    """Let freed arrays be used again instead of going back to the system page by page.

    One arena for all threads, which otherwise keep what others could use. For 0.8 km² that is 0.5
    CPU-seconds in the kernel and 100 MB less. Pages of 2 MB, where the system has them, take
    another 9 % off `dsm`. Where the C library is another one, nothing changes.
    """
    arenas, map_above, trim_above, in_large_pages = -8, -3, -1, 14
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for option, value in ((arenas, 1), (map_above, 1 << 30), (trim_above, (1 << 31) - 1)):
            library.mallopt(option, value)
        library.malloc.restype = ctypes.c_void_p
        heap = library.malloc(ctypes.c_size_t(HEAP_BYTES))
        if heap:
            first = -(-heap // PAGE_BYTES) * PAGE_BYTES
            size = (heap + HEAP_BYTES - first) // PAGE_BYTES * PAGE_BYTES
            library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), in_large_pages)
            library.free(ctypes.c_void_p(heap))


def run(options: argparse.Namespace) -> int:
    """Run one process here, with no service, and write its products and results.json."""
    _reuse_memory()
    gc.set_threshold(50_000, 20, 100)  # half a million objects are imported, none of them garbage
    atexit.register(gc.freeze)  # a last search for it takes 0.3 s and gives nothing back
    from processes import PROCESSES
    from processes.core.errors import InvalidInput
    from processes.core.process import Device

    process = PROCESSES.get(options.process)
    if process is None:
        raise InvalidInput(f"no process {options.process}: there are {', '.join(PROCESSES)}")
    request = read_request(options.request)
    inputs = process.parse(request["inputs"])
    wanted = process.parse_outputs(request.get("outputs") or {}) or process.outputs.model_fields
    if options.device not in get_args(Device):
        raise InvalidInput(f"no device {options.device}: there are {', '.join(get_args(Device))}")

    from workers.offline import go_offline
    from workers.reader import Reader, names
    from workers.results import finished
    from workers.workspace import LocalWorkspace

    go_offline()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".orograph-", dir=out))
    try:
        with ProgressBar() as bar:
            work = LocalWorkspace(
                scratch / "products",
                Reader(
                    cache=scratch / "fetched",
                    files=True,
                    allowed_hosts=names(options.allow_hosts),
                ),
                base=str(options.request.resolve()),
                on_progress=bar.show,
                device=options.device,
                dask=options.dask,
            )
            outputs = process.run(inputs, work)
        made = finished(outputs, work.folder)
        values = {name: value for name, value in made.items() if name in wanted}
        _moved(work.folder, out)
        (out / "results.json").write_text(json.dumps(values, indent=2) + "\n")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(values, indent=2))
    return DONE


def _moved(source: Path, target: Path) -> None:
    """Move every product into *target*, replacing those of an earlier run."""
    for path in sorted(source.iterdir()):
        old = target / path.name
        if old.is_dir():
            shutil.rmtree(old)
        path.replace(old)


def _submit(options: argparse.Namespace) -> int:
    from server.submit import submit
    from workers.settings import CommonSettings

    server = options.server or CommonSettings().url
    return submit(options.process, options.request, server, api_key=options.api_key)


def _up(_: argparse.Namespace) -> int:
    from server.local import up
    from server.settings import Settings

    return up(Settings())


def _serve(_: argparse.Namespace) -> int:
    from server.local import serve
    from server.settings import Settings

    return serve(Settings())


def _demo(options: argparse.Namespace) -> int:
    from server.demo import demo
    from server.settings import Settings

    return demo(Settings(), leave=options.exit)


def _migrate(_: argparse.Namespace) -> int:
    from processes.core.errors import InvalidInput
    from server.local import migrate
    from server.settings import Settings

    url = Settings().database_url
    if url is None:
        raise InvalidInput("set OROGRAPH_DATABASE_URL to the database to prepare")
    migrate(url)
    return DONE


def _train_segmenter(options: argparse.Namespace) -> int:
    from processes.core.errors import InvalidInput
    from workers.segmenter import train_segmenter

    if not 1 <= options.steps <= 1_000_000:
        raise InvalidInput("--steps must be 1 to 1000000")
    item = train_segmenter(
        options.out,
        steps=options.steps,
        seed=options.seed,
        labels=options.labels,
        start=options.start,
        onnx=options.onnx,
        told=lambda now: print(
            f"step {now.step} of {now.steps}: loss {now.loss:.3f}, {now.accuracy:.1%} right",
            file=sys.stderr,
        ),
    )
    print(item)
    return DONE


def _openapi(_: argparse.Namespace) -> int:
    from server.document import write_openapi

    print(write_openapi(Path("openapi/openapi.json")))
    return DONE


class _Version(argparse.Action):
    """Looking it up takes 0.04 s, which no other command needs."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"Orograph {version('orograph')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="orograph", description="Satellite imagery to 3D maps.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show it and end")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    here = commands.add_parser("run", help="one process on this machine, no service needed")
    here.add_argument("process", metavar="PROCESS")
    here.add_argument("request", metavar="REQUEST.json", type=Path)
    here.add_argument("--out", required=True, type=Path, help="folder for the products")
    here.add_argument(
        "--allow-hosts", default=os.environ.get("OROGRAPH_ALLOWED_HOSTS", ""), metavar="HOST,…"
    )
    here.add_argument(
        "--device",
        default=os.environ.get("OROGRAPH_DEVICE") or "auto",
        metavar="DEVICE",
        help="what computes: cpu, cuda, or auto, a GPU where there is one",
    )
    here.add_argument(
        "--dask",
        default=os.environ.get("OROGRAPH_DASK") or None,
        metavar="tcp://HOST:PORT",
        help="scheduler of a Dask cluster that computes blocks and sees the same folders",
    )
    here.set_defaults(command=run)

    there = commands.add_parser("submit", help="one process through a running server")
    there.add_argument("process", metavar="PROCESS")
    there.add_argument("request", metavar="REQUEST.json", type=Path)
    there.add_argument(
        "--server",
        default=os.environ.get("OROGRAPH_SERVER"),
        metavar="URL",
        help="by default where `orograph up` with the same OROGRAPH_* variables would be",
    )
    there.add_argument("--api-key", default=os.environ.get("OROGRAPH_API_KEY"))
    there.set_defaults(command=_submit)

    taught = commands.add_parser(
        "train-segmenter", help="train the network of process segment on made-up towns"
    )
    taught.add_argument("--out", required=True, type=Path, help="folder for weights and their Item")
    taught.add_argument("--steps", type=int, default=6000, help="of 8 crops each")
    taught.add_argument("--seed", type=int, default=0)
    taught.add_argument(
        "--labels", type=Path, help="folder of real places: PLACE/ndsm.tif, classes.tif, ortho.tif"
    )
    taught.add_argument(
        "--start", type=Path, metavar="ITEM.json", help="weights to go on from, as written here"
    )
    taught.add_argument("--onnx", action="store_true", help="write an ONNX file, too")
    taught.set_defaults(command=_train_segmenter)

    for name, command, text in (
        ("up", _up, "the whole stack on this machine, until Ctrl-C"),
        ("serve", _serve, "the API alone, for a database, broker and workers of one's own"),
        ("migrate", _migrate, "prepare the database of OROGRAPH_DATABASE_URL"),
        ("openapi", _openapi, "write openapi/openapi.json"),
    ):
        commands.add_parser(name, help=text).set_defaults(command=command)

    shown = commands.add_parser("demo", help="the stack, one job on the bundled scene, its map")
    shown.add_argument("--exit", action="store_true", help="end by itself when it is done")
    shown.set_defaults(command=_demo)
    return parser


if __name__ == "__main__":
    sys.exit(main())
