# SPDX-License-Identifier: Apache-2.0
"""The queue's door for WebSockets: Zaqar's actions, each of them a route as it is over HTTP.

A frame names an action; the action's fields become the path, the query and the body of a route, its
handler answers as over HTTP, and the answer becomes a frame of the form that Zaqar's clients know.
So rules, limits and meanings are those of the routes, and nothing is decided twice.
"""
