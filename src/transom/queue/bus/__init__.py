# SPDX-License-Identifier: Apache-2.0
"""The queue on its node: rows of its live tables, and writes on their way to who may write.

A process that may not write a file of the queue's hands its verbs to the owner of the file: all of
one turn of the loop in one frame, `base64(msgpack([verb, ...]))`, answered by
`base64(msgpack([outcome, ...]))` once each is on disk or has failed. Each file has a topic.

Invariants:
1. A frame is sent again only if it surely never reached the owner, and only until its deadline.
   What may have been carried out though no answer came is told so (503), and never sent again.
2. A verb is believed as it comes, its project too: it may only travel where none but our own
   processes can be heard, in the private folder of the embedded bus (see `frames.is_private`).
3. An error raised at the owner is raised at the worker as itself.
4. The answer to a frame fits into one message of the bus, with messages of the usual size at most:
   what was popped, and cannot be handed over, is lost.
"""
