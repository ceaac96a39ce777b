# SPDX-License-Identifier: Apache-2.0
"""A driver for oslo.messaging: an unmodified OpenStack service gets this engine by one line,

    transport_url = transom+rabbit://user:password@host:5672/vhost

or `transom+zmq://`. Registered as `transom` in the entry point group `oslo.messaging.drivers`.

* `driver`: what oslo.messaging calls. `listener`, `incoming`: what arrives at a server.
* `engine`: one connection to one bus, on the loop thread of the process.
* `room`: messages for whom nobody is there yet.
* `wire`: oslo's messages and their bytes. `settings`: oslo's configuration as an address of ours.
* `green`: the same under eventlet.

It is loaded by oslo.messaging only; nothing in Transom imports it.
"""
