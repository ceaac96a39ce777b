# SPDX-License-Identifier: Apache-2.0
"""Runs a share of oslo.messaging's own functional tests, and prints one JSON line a test.

    RPC_TRANSPORT_URL=... NOTIFY_TRANSPORT_URL=... python functional.py SHARE SHARES [--named]

Run by the Python of `.cache/oslo`. With `--named` only the tests that skip themselves unless the
address begins with `rabbit://` are run: they are given one that says so when asked.
"""

import json
import sys
import time
import unittest
import warnings

NAMES = ("oslo_messaging.tests.functional.test_functional",
         "oslo_messaging.tests.functional.notify.test_logger")  # fmt: skip
SKIPPING = ("test_mandatory_call", "test_monitor_long_call")


class Named(str):
    """An address that begins with `rabbit://` for who asks only that."""

    def startswith(self, prefix: str, *bounds: int) -> bool:  # type: ignore[override]
        return prefix == "rabbit://" or super().startswith(prefix, *bounds)


class Lines(unittest.TestResult):
    """Tells what became of each test."""

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._began_s = time.monotonic()
        self._outcome, self._detail = "passed", ""
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        name = test.id().removeprefix("oslo_messaging.tests.functional.")
        took_s = round(time.monotonic() - self._began_s, 2)
        line = {"test": name, "outcome": self._outcome, "took_s": took_s, "detail": self._detail}
        print(json.dumps(line), flush=True)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._outcome, self._detail = "skipped", reason

    def addError(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        self._outcome, self._detail = "failed", self._exc_info_to_string(err, test)[-4000:]

    addFailure = addError  # noqa: N815


def tests_of(suite: unittest.TestSuite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from tests_of(one)
        else:
            yield one


def main() -> None:
    share, shares = int(sys.argv[1]), int(sys.argv[2])
    warnings.simplefilter("ignore")
    loaded = unittest.TestLoader().loadTestsFromNames(NAMES)
    tests = sorted(tests_of(loaded), key=lambda test: test.id())
    if "--named" in sys.argv:
        from oslo_messaging.tests.functional import utils

        plain = utils.SkipIfNoTransportURL.setUp

        def set_up(self, *args, **kwargs) -> None:
            plain(self, *args, **kwargs)
            self.rpc_url = Named(self.rpc_url)

        utils.SkipIfNoTransportURL.setUp = set_up
        tests = [test for test in tests if test.id().rpartition(".")[2] in SKIPPING]
    mine = tests[share::shares]
    if len(sys.argv) > 3 and not sys.argv[3].startswith("-"):
        mine = [test for test in tests if sys.argv[3] in test.id()]
    result = Lines()
    for test in mine:
        test.run(result)


if __name__ == "__main__":
    main()
