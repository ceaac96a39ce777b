# SPDX-License-Identifier: Apache-2.0
"""All routes of the key server below one prefix; errors in the plain form."""

from transom.keys.api.groups import GroupHandlers
from transom.keys.api.home import HomeHandlers
from transom.keys.api.parties import PartyHandlers
from transom.keys.api.signed import Signed
from transom.keys.api.tickets import TicketHandlers
from transom.keys.app.administration import Administration
from transom.keys.app.directory import Directory
from transom.keys.app.grants import Granting
from transom.runtime.http.route import Mount

PREFIX = "/keys"


def mount(
    administration: Administration, granting: Granting, directory: Directory, page_max: int
) -> Mount:
    """`page_max`: the most in one answer."""
    signed = Signed(granting)
    routes = [
        *HomeHandlers(granting.authorities, PREFIX).routes(),
        *PartyHandlers(administration, page_max).routes(),
        *GroupHandlers(administration, signed, page_max).routes(),
        *TicketHandlers(signed, directory).routes(),
    ]
    return Mount(PREFIX, routes)
