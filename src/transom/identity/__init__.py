# SPDX-License-Identifier: Apache-2.0
"""Identity: the embedded Keystone of a development cloud.

Speaks a subset of the Identity API v3: version documents, tokens by password, token and application
credential for a project, a domain or the system, the catalogue, domains, users, projects, roles and
grants. In production a real Keystone takes its place; the doors ask either of them the same way.

Invariants:
1. Served on loopback only; `service.build` refuses anything else.
2. A token is worth what the database says now: its user and its place are there and enabled with
   their domains, neither has been invalidated since, the token is not revoked, the roles are the
   present ones.
3. A token got by a token ends when the first one ends. Nothing got by an application credential has
   more roles than that one.
4. Passwords are stored as scrypt hashes; texts of passwords lie only in files of mode 0600.
5. After every commit the generation changes, so what any process has cached is asked for again.
6. An unknown user costs the caller the same time and gets the same answer as a wrong password.
"""
