# SPDX-License-Identifier: Apache-2.0
"""Telling subscribers: notices on their way out, by HTTP or mail.

Invariants:
1. A subscriber is sent one notice at a time, the next one only when that was delivered or given up;
   a position is on disk before more than `COMMITTED_EACH` others are sent. So each arrives at
   least once, in order, whatever process is killed when.
2. A subscriber that fails, or answers late, holds up nobody else: it waits without a slot, and
   those that failed last have slots of their own.
3. No connection is opened to an address that is not admitted, whatever a name resolves to.
4. What a subscriber answers is read to a bound and kept by nobody; secrets are in no log.
"""
