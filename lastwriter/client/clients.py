"""Makes a client of the data plane by name."""

from __future__ import annotations

from typing import Literal

from lastwriter.client.credentials import CredentialSource
from lastwriter.client.protocol import DynamoClient

ClientKind = Literal["wire", "boto3"]


def make_client(
    kind: ClientKind,
    endpoint: str,
    region: str,
    credentials: CredentialSource,
    deadline_s: float = 5.0,
    ca_bundle: str | None = None,
    connect_s: float | None = None,
) -> DynamoClient:
    """A client of one Region's endpoint; an attempt without an answer after ``deadline_s`` is unknown.

    Without a connection (name, TCP and TLS) after ``connect_s`` (default, and at most: ``deadline_s``) it has failed,
    and nothing was sent.

    ``credentials`` come from :func:`lastwriter.client.credentials.credentials_for`. ``ca_bundle`` is a PEM file of
    trusted authorities; default: ``AWS_CA_BUNDLE``, else the ones that botocore trusts. Raises UserError for an
    endpoint that is no URL.
    """
    if kind == "wire":
        from lastwriter.client.wire import WireClient  # only here: the control plane does without gevent

        return WireClient(endpoint, region, credentials, deadline_s, ca_bundle, connect_s)
    from lastwriter.client.boto import BotoClient

    return BotoClient(endpoint, region, credentials, deadline_s, ca_bundle, connect_s)
