"""Runs a command several times and fails where even the quickest run takes too long.

python .ci/require_quick.py --most=10 --runs=3 [--fresh_cache] -- COMMAND ...
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time


def main() -> int:
    """Prints the shortest time; returns 1 above --most, or the code of a command that fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=float, required=True, help="seconds")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--fresh_cache", action="store_true", help="an empty folder for compiled programs each time"
    )
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    times = []
    for _ in range(wanted.runs):
        with tempfile.TemporaryDirectory() as cache:
            environment = dict(os.environ)
            if wanted.fresh_cache:
                environment["XDG_CACHE_HOME"] = cache
            start = time.perf_counter()
            code = subprocess.run(
                wanted.command, env=environment, stdout=subprocess.DEVNULL, check=False
            ).returncode
            times.append(time.perf_counter() - start)
        if code != 0:
            return code
    listed = ", ".join(f"{seconds:.2f}" for seconds in times)
    kept = min(times) <= wanted.most
    print("kept  " if kept else "BROKEN", f"at most {wanted.most:g} s, found {listed} s:", end=" ")
    print(" ".join(wanted.command))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
