"""python-zaqarclient's functional tests, turned on: run by its own Python, with testtools.

Its wheel holds the tests (`zaqarclient.tests.queues`); the classes that turn them on are in its
source archive only, so they stand here again. Where the service is: ZAQAR_ENDPOINT; who asks: the
cloud OS_CLOUD (ZAQARCLIENT_AUTH_FUNCTIONAL=1).

The tests of pools and flavors name a MongoDB that they expect to be there. POOL_URI names a
database of ours that stands for it: the address is replaced in what they send, and back in what
they get.
"""

import os

from zaqarclient.tests.queues import claims, flavor, health, pool, queues, subscriptions
from zaqarclient.transport import http

THEIRS = "mongodb://127.0.0.1:27017"
OURS = os.environ["POOL_URI"]
SHOWN = os.environ["POOL_URI_SHOWN"]


class OfOurs(http.HttpTransport):
    """Where they say the one database, the other one is meant."""

    def send(self, request):
        if request.content:
            request.content = request.content.replace(THEIRS, OURS)
        response = super().send(request)
        if response.content:
            response.content = response.content.replace(SHOWN, THEIRS)
        return response


class Claims(claims.QueuesV2ClaimFunctionalTest):
    is_functional, transport_cls, version = True, http.HttpTransport, 2


class Flavors(flavor.QueuesV2FlavorFunctionalTest):
    is_functional, transport_cls, version = True, OfOurs, 2


class Health(health.QueuesV2HealthFunctionalTest):
    is_functional, transport_cls, version = True, http.HttpTransport, 2


class Pools(pool.QueuesV2PoolFunctionalTest):
    is_functional, transport_cls, version = True, OfOurs, 2


class Queues(queues.QueuesV2QueueFunctionalTest):
    is_functional, transport_cls, version = True, http.HttpTransport, 2


class Subscriptions(subscriptions.QueuesV2SubscriptionFunctionalTest):
    is_functional, transport_cls, version = True, http.HttpTransport, 2
