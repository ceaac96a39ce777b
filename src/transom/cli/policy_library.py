# SPDX-License-Identifier: Apache-2.0
"""`transom policy library`: the policies that come with Transom, listed, printed or copied."""

import shutil
from argparse import Namespace
from pathlib import Path

import transom.policy
from transom.errors import ConfigError, NotFound
from transom.policy.datalog.rules.names import meant

LIBRARY = Path(transom.policy.__file__).with_name("library")
RULES, SCHEMA = "policy.dl", "schema.yaml"


def library(options: Namespace) -> int:
    """Raises: NotFound for a name; ConfigError for a folder that is there already."""
    policies = {path.parent.name: path for path in sorted(LIBRARY.glob(f"*/{RULES}"))}
    for name in options.name:
        if name not in policies:
            hint = meant(name, policies) or "`transom policy library` lists them"
            raise NotFound(f"there is no policy {name!r} in the library; {hint}")
    chosen = options.name or list(policies)
    if options.to is not None:
        _copy(chosen, options.to)
    elif options.name:
        print("\n".join(policies[name].read_text("utf-8") for name in chosen), end="")
    else:
        width = max(map(len, policies))
        for name, path in policies.items():
            print(f"{name:{width}}  {_says(path)}")
    return 0


def _copy(names: list[str], folder: Path) -> None:
    """All of them, or none. A schema that is there stays: it may be more than ours."""
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise ConfigError(f"{folder / there[0]} is there already; copy to another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copytree(LIBRARY / name, folder / name)
        print(folder / name)
    if not (folder / SCHEMA).exists():
        shutil.copyfile(LIBRARY / SCHEMA, folder / SCHEMA)
        print(folder / SCHEMA)


def _says(path: Path) -> str:
    """The first sentence of the comment on top, behind the policy's name."""
    words = []
    for line in path.read_text("utf-8").splitlines()[1:]:
        text = line.removeprefix("//").strip()
        if not text or text.startswith("Why: "):
            break
        words.append(text)
    return " ".join(words)
