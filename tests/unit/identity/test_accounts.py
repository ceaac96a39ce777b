import yaml

from transom.identity.logic.accounts import SuiteAccount, account_names, accounts_yaml


def test_every_account_is_a_user_in_a_project_of_its_own() -> None:
    assert account_names(2) == ["tempest-1", "tempest-2"]
    made = [SuiteAccount("tempest-1", "s: #1", ("member", "reader"), "Default")]
    assert yaml.safe_load(accounts_yaml(made)) == [
        {
            "username": "tempest-1",
            "password": "s: #1",
            "project_name": "tempest-1",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
            "roles": ["member", "reader"],
        }
    ]
