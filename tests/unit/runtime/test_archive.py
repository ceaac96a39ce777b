from pathlib import Path

import pytest

from transom.errors import ConfigError
from transom.runtime import archive
from transom.runtime.archive import Member, pack, unpack


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    contents = {"empty": b"", "keys/one": b"1" * 100_000, "two": bytes(range(256)) * 9000}
    files = {name: tmp_path / str(at) for at, name in enumerate(contents)}
    for name, path in files.items():
        path.write_bytes(contents[name])
    pack(tmp_path / "all.tar", files, {"by": "test"})
    (tmp_path / "out").mkdir()
    unpacked = unpack(tmp_path / "all.tar", tmp_path / "out")
    assert unpacked.about == {"by": "test"}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in unpacked.names} == contents


@pytest.mark.parametrize("after", [b"b" * 1000, b"", b"a" * 999])
def test_a_file_that_changes_while_it_is_packed_leaves_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bytes
) -> None:
    """Else it would be found out at the restore."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"a" * 1000)
    measured = archive._member

    def changing(path: Path) -> Member:
        member = measured(path)
        path.write_bytes(after)
        return member

    monkeypatch.setattr(archive, "_member", changing)
    with pytest.raises(ConfigError, match="changed while it was read"):
        pack(tmp_path / "all.tar", {"policy.yaml": path}, {})
    assert [found.name for found in tmp_path.iterdir()] == ["policy.yaml"]
