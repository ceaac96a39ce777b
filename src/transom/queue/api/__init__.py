# SPDX-License-Identifier: Apache-2.0
"""The queue's door: Zaqar's API, version 2.

Links in answers are paths without the mount's prefix (`/v2/queues/...`), as a Zaqar behind a
prefix gives them; its clients put their endpoint before `/v2`.
"""
