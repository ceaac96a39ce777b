# SPDX-License-Identifier: Apache-2.0
"""Security of messages, without I/O: names, certificates, tickets, sessions, sealed messages.

Time and randomness are arguments. `transom.messaging.secured` puts it between a transport and its
driver; the key server builds on `tickets` and `certificates`.
"""
