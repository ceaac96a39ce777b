"""The main job over TLS, with an unmodified client that trusts what `clouds.yaml` names."""

import urllib.request
import uuid
from pathlib import Path

import pytest

from support.certificates import Pair, issued
from support.stack import Stack, wait_for

CLIENT = str(uuid.uuid4())

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("own_authority", [True, False])
def test_the_main_job_over_tls_and_a_new_certificate_meanwhile(
    tmp_path: Path, own_authority: bool
) -> None:
    authority = issued("authority")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.chain)
    folder = tmp_path / "tls"
    folder.mkdir()
    path, key = (authority if own_authority else issued("first", authority)).write(folder)
    made = {"TLS_CERTIFICATE": path, "TLS_KEY": key, **({} if own_authority else {"TLS_CA": ca})}
    stack = Stack(
        tmp_path / "data", {f"TRANSOM_API__{name}": str(value) for name, value in made.items()}
    )
    try:
        stack.start()
        assert stack.url.startswith("https://127.0.0.1:")
        assert f"OS_CACERT={path if own_authority else ca}" in (stack.data / "openrc").read_text()
        stack.openstack("messaging queue create life -f json")
        if own_authority:
            return
        second = issued("second", authority, days=90)
        second.write(folder)
        wait_for(lambda: left_s(stack, authority) > 80 * 86_400)
        # New logins: the doors ask the embedded identity about tokens under the new certificate.
        body = '[{"body": 1, "ttl": 300}]'
        stack.openstack(f"messaging message post life --client-id {CLIENT}", body)
        assert len(stack.openstack("messaging claim create life -f json")) == 1
        assert "ok" in stack.transom("doctor", check=False).stdout
    finally:
        stack.stop()


def left_s(stack: Stack, authority: Pair) -> float:
    with urllib.request.urlopen(
        f"{stack.url}/metrics", context=authority.trusted(), timeout=10
    ) as answer:
        text = answer.read().decode()
    name = "transom_tls_certificate_expires_seconds "
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])
