"""Emulators get dummies, AWS gets what botocore finds, and nothing prints a secret."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.credentials import RefreshableCredentials

from lastwriter.client.clients import make_client
from lastwriter.client.credentials import (
    EMULATOR_CREDENTIALS,
    CredentialsUnavailable,
    Keys,
    ProviderChain,
    StaticCredentials,
    credentials_at,
    credentials_for,
    users_credentials,
)
from lastwriter.errors import UserError
from tests.client.scripted_server import ScriptedServer, reply


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A user whose AWS files are in ``tmp_path`` and whose environment says nothing else."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    users_credentials.cache_clear()
    yield tmp_path
    users_credentials.cache_clear()


def test_the_users_profile_is_found(user: Path) -> None:
    (user / "credentials").write_text("[default]\naws_access_key_id=AKIDUSER\naws_secret_access_key=hush\n")
    assert credentials_for("aws").keys() == Keys("AKIDUSER", "hush", None)


def test_the_environment_with_a_session_token(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert credentials_for("endpoints").keys() == Keys("AKIDENV", "hush", "token")


def test_none_at_all(user: Path) -> None:
    with pytest.raises(UserError, match="no AWS credentials found: set AWS_PROFILE"):
        credentials_for("aws")


def test_a_profile_that_is_not_there(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(UserError, match="nowhere"):
        credentials_for("aws")


@pytest.mark.parametrize("kind", ["wire", "boto3"])
def test_an_emulator_never_sees_the_users(user: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever the user has set up: keys, a broken profile, settings in a file, a proxy."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUSER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-user")
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    (user / "config").write_text("[default]\nregion = mars-north-1\n[nonsense")
    with ScriptedServer(lambda _: [reply(b'{"__type":"x#InternalServerError"}', "500 No")]) as server:
        client = make_client(kind, server.endpoint, "us-east-1", credentials_for("emulator"))  # type: ignore[arg-type]
        got = client.request("GetItem", {"TableName": "t", "Key": {"pk": {"S": "k"}}})
        client.close()
        assert got.error == "InternalServerError"
        assert len(server.requests) == 1
        sent = json.dumps(server.requests[0].headers)
    assert EMULATOR_CREDENTIALS.keys().access_key in sent
    assert "/us-east-1/dynamodb/" in sent
    assert "AKIDUSER" not in sent
    assert "token-of-the-user" not in sent


def test_what_is_here_gets_dummies_and_what_is_elsewhere_the_users(user: Path) -> None:
    for endpoint in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"):
        assert credentials_at(endpoint) is EMULATOR_CREDENTIALS
    with pytest.raises(UserError, match="no AWS credentials"):
        credentials_at("https://dynamodb.us-east-1.amazonaws.com")


def test_the_users_are_looked_for_once(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert credentials_for("aws") is credentials_for("endpoints")


def test_secrets_are_not_shown() -> None:
    for shown in (Keys("AKID", "hush", "token"), StaticCredentials("AKID", "hush", "token")):
        for text in (repr(shown), str(shown), f"{shown}", f"{[shown]}"):
            assert "AKID" in text
            assert "hush" not in text
            assert "token" not in text


def test_a_refresh_that_fails_is_said_in_one_line(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    chain = ProviderChain()

    def refresh() -> dict[str, str]:
        raise RuntimeError("STS\nis away")

    past = {"access_key": "A", "secret_key": "hush", "token": "t", "expiry_time": "2020-01-01T00:00:00Z"}
    chain._credentials = RefreshableCredentials.create_from_metadata(past, refresh, "test")
    with pytest.raises(CredentialsUnavailable, match="could not be refreshed: STS is away") as raised:
        chain.keys()
    assert "hush" not in str(raised.value)


def test_a_refresh_that_works_gives_the_new_keys(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    chain = ProviderChain()
    new = {"access_key": "NEW", "secret_key": "s", "token": "t2", "expiry_time": "2100-01-01T00:00:00Z"}
    past = {"access_key": "OLD", "secret_key": "s", "token": "t1", "expiry_time": "2020-01-01T00:00:00Z"}
    chain._credentials = RefreshableCredentials.create_from_metadata(past, lambda: new, "test")
    assert chain.keys() == Keys("NEW", "s", "t2")
