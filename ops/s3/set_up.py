"""Makes the bucket that FEATURE_STORE_PATH names, and lets each role do in it what the policies beside this file say.

    python ops/s3/set_up.py [--principal arn:aws:iam:::user/fstore-{role}]

Run it with the keys of whoever shall own the bucket, found where fstore finds its own (FEATURE_STORE_S3_...), and as often
as you like: policy and lifecycle of the bucket are replaced by these. Made for stores whose users are not managed elsewhere;
on AWS attach the policies to your roles instead. Where raw data lie is not touched.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from fstore.errors import ConfigurationError
from fstore.model import ObjectUrl
from fstore.settings import Settings, gather_settings

HERE = Path(__file__).resolve().parent
ROLES = ("trainer", "worker", "upkeep")
PRINCIPAL = "arn:aws:iam:::user/fstore-{role}"


def main() -> int:
    """Make bucket, policy and lifecycle; say what went wrong otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--principal", default=PRINCIPAL, help="who a role is to the store, with {role} in it")
    principal = parser.parse_args().principal
    try:
        settings = gather_settings()
        set_up(settings, root := _root_of(settings), principal)
    except (ConfigurationError, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{root}: bucket, rights of {', '.join(ROLES)}, lifecycle")
    return 0


def _root_of(settings: Settings) -> ObjectUrl:
    if isinstance(settings.path, ObjectUrl):
        return settings.path
    raise ConfigurationError([f"path: {settings.path} is a folder; set FEATURE_STORE_PATH=s3://bucket/prefix"])


def set_up(settings: Settings, root: ObjectUrl, principal: str = PRINCIPAL) -> None:
    """Make the bucket unless it is there, and replace its policy and its lifecycle."""
    client = client_of(settings)
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=root.bucket)
    client.put_bucket_policy(Bucket=root.bucket, Policy=json.dumps(bucket_policy(root, principal)))
    client.put_bucket_lifecycle_configuration(Bucket=root.bucket, LifecycleConfiguration=filled("lifecycle.json", root))


def bucket_policy(root: ObjectUrl, principal: str = PRINCIPAL) -> dict[str, Any]:
    """Return the policies of all roles as the one that a bucket has: each statement says whom it is for."""
    statements = [
        {**statement, "Sid": f"{role}{statement['Sid']}", "Principal": {"AWS": [principal.format(role=role)]}}
        for role in ROLES
        for statement in filled(f"{role}.json", root)["Statement"]
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def filled(name: str, root: ObjectUrl) -> Any:
    """Read a file of this folder with bucket and prefix filled in."""
    text = (HERE / name).read_text(encoding="utf-8").replace("BUCKET", root.bucket)
    return json.loads(text.replace("PREFIX/", f"{root.key}/" if root.key else ""))


def client_of(settings: Settings) -> Any:
    """Return botocore's client, with fstore's address and keys."""
    config = Config(
        s3={"addressing_style": settings.s3_addressing if not settings.s3_endpoint_url else "path"},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
        connect_timeout=5, read_timeout=60,
    )  # fmt: skip
    keys = (settings.s3_access_key_id, settings.s3_secret_access_key, settings.s3_session_token)
    key_id, secret, token = (key.get_secret_value() if key is not None else None for key in keys)
    return Session().create_client(
        "s3", region_name=settings.s3_region, endpoint_url=settings.s3_endpoint_url,
        verify=str(settings.s3_ca_file) if settings.s3_ca_file else None,
        aws_access_key_id=key_id, aws_secret_access_key=secret, aws_session_token=token, config=config,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
