# SPDX-License-Identifier: Apache-2.0
"""How long the check of a file takes that is opened after an unclean end.

usage: python -m bench.db.open [--mib 128]    writes bench/results/open.json

Seconds of SQLite's quick_check and integrity_check, page cache warm, and MiB a second.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from pathlib import Path


def filled(path: Path, mib: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("create table message (id integer primary key, body blob not null)")
    connection.execute("create index message_of_body on message (body)")
    number = 0
    while path.stat().st_size < mib << 20:
        rows = ((number + at, b"%016d" % (number + at) + bytes(124)) for at in range(50_000))
        connection.executemany("insert into message values (?, ?)", rows)
        connection.commit()
        number += 50_000
    return connection


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=128)
    options = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "filled.db"
        connection = filled(path, options.mib)
        for how in ("quick_check", "integrity_check"):
            began = time.perf_counter()
            connection.execute(f"pragma {how}(1)").fetchone()
            took = time.perf_counter() - began
            found[f"{how}_s"] = round(took, 3)
            found[f"{how}_mib_s"] = round((path.stat().st_size >> 20) / took, 1)
        connection.close()
    result = {"sqlite": sqlite3.sqlite_version, "mib": options.mib, **found}
    target = Path(__file__).parent.parent / "results" / "open.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
