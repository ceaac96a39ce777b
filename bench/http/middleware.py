# SPDX-License-Identifier: Apache-2.0
"""The peer of `token_check`: keystonemiddleware's own check of a token that it has in its cache.

Run by the interpreter of the peer's environment, so nothing of ours is imported. For each line on
standard input, a round is measured and its figures written as a line of JSON.
"""

import json
import logging
import sys
import time
import timeit
from datetime import datetime, timedelta, timezone


def protocol(document: dict, token: str):
    """The middleware, over an identity service that is never asked again."""
    from keystonemiddleware import auth_token

    logging.disable(logging.CRITICAL)
    conf = {
        "auth_type": "password", "auth_url": "http://127.0.0.1:9", "username": "u",
        "password": "p", "project_name": "p", "user_domain_id": "d", "project_domain_id": "d",
        "www_authenticate_uri": "http://127.0.0.1:9",
    }  # fmt: skip
    made = auth_token.AuthProtocol(lambda environ, start: [b""], conf)
    made._token_cache.initialize({})
    made._token_cache.set(token, document)
    return made


def run() -> None:
    from keystonemiddleware.auth_token import _request

    told = json.loads(sys.stdin.readline())
    token, calls = told["token"], told["calls"]
    expires = datetime.now(timezone.utc) + timedelta(hours=1)  # noqa: UP017
    domain = {"id": "default", "name": "Default"}
    document = {
        "token": {
            "methods": ["password"],
            "user": {"id": "u", "name": "alice", "domain": domain, "password_expires_at": None},
            "project": {"id": "p", "name": "work", "domain": domain},
            "roles": [{"id": "1", "name": "member"}, {"id": "2", "name": "reader"}],
            "audit_ids": ["a"],
            "is_domain": False,
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": expires.isoformat().replace("+00:00", "Z"),
        }
    }
    made = protocol(document, token)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_AUTH_TOKEN": token}

    def fetched() -> None:
        made._validate_token(made._do_fetch_token(token)[1])

    def processed() -> None:
        made.process_request(_request._AuthTokenRequest(dict(environ)))

    def timed(step) -> float:
        return timeit.timeit(step, timer=time.process_time, number=calls)

    steps = {"check": fetched, "check and headers": processed}
    for _ in sys.stdin:
        figures = {name: timed(step) / calls for name, step in steps.items()}
        print(json.dumps(figures), flush=True)
