# SPDX-License-Identifier: Apache-2.0
from transom.runtime.http.versions import ApiVersion, VersionStatus, versions_answer


def test_a_versions_answer_links_each_version_to_where_it_is():
    versions = [
        ApiVersion("v2.0", "v2/", more={"updated": "2014-09-24T04:06:47Z"}),
        ApiVersion("v1.1", "v1.1/", VersionStatus.DEPRECATED),
    ]
    answer = versions_answer(versions, "http://here:9000/queue/")
    assert answer.status == 300
    assert answer.body == {
        "versions": [
            {
                "id": "v2.0",
                "status": "CURRENT",
                "links": [{"rel": "self", "href": "http://here:9000/queue/v2/"}],
                "updated": "2014-09-24T04:06:47Z",
            },
            {
                "id": "v1.1",
                "status": "DEPRECATED",
                "links": [{"rel": "self", "href": "http://here:9000/queue/v1.1/"}],
            },
        ]
    }
