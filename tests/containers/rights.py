"""What each role may do in the bucket: asked of the store itself, with the role's keys, within one of its containers.

``python - < rights.py`` prints the acts that were allowed; needs fstore and its settings there, nothing else of this
repository. Upkeep is asked first: what it has put the others try to read, for a gateway tells of what is missing whoever may
list.
"""

from __future__ import annotations

import json
import sys

ACTS = (
    "get STORE_ID", "get entries/aa/walk", "get staging/walk", "get quarantine/walk",
    "put entries/aa/walk", "put staging/walk", "put quarantine/walk", "put probe/walk", "put ../elsewhere",
    "delete entries/aa/gone", "delete staging/gone", "delete quarantine/gone", "delete ../gone",
    "list staging/", "list entries/", "policy",
)  # fmt: skip
_READS = {"get STORE_ID", "get entries/aa/walk", "get staging/walk", "list staging/"}
_WRITES = {"put entries/aa/walk", "put staging/walk", "put quarantine/walk"}
_DISCARDS = {"delete entries/aa/gone", "delete staging/gone"}
ALLOWED = {
    "trainer": _READS | {"put staging/walk"},
    "worker": _READS | {"get quarantine/walk"} | _WRITES | _DISCARDS,
    "upkeep": set(ACTS) - {"put ../elsewhere", "delete ../gone", "policy"},
    "nobody": set[str](),
}


def main() -> int:
    """Try each act, as the settings' role or, with ``nobody``, without keys; print those that were allowed as JSON."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import ClientError
    from botocore.session import Session

    from fstore.model import ObjectUrl
    from fstore.settings import gather_settings

    settings = gather_settings()
    root, keys = settings.path, (settings.s3_access_key_id, settings.s3_secret_access_key)
    assert isinstance(root, ObjectUrl)
    key_id, secret = (key.get_secret_value() if key is not None else None for key in keys)
    config = Config(s3={"addressing_style": "path"}, signature_version=UNSIGNED if "nobody" in sys.argv else None)
    client = Session().create_client(
        "s3", region_name=settings.s3_region, endpoint_url=settings.s3_endpoint_url, config=config,
        aws_access_key_id=key_id, aws_secret_access_key=secret,
    )  # fmt: skip

    def may(act: str) -> bool:
        verb, _, name = act.partition(" ")
        key = name.removeprefix("../") if name.startswith("../") else f"{root.key}/{name}"
        try:
            match verb:
                case "get":
                    client.get_object(Bucket=root.bucket, Key=key)
                case "put":
                    client.put_object(Bucket=root.bucket, Key=key, Body=b"walk")
                case "delete":
                    client.delete_object(Bucket=root.bucket, Key=key)
                case "list":
                    client.list_objects_v2(Bucket=root.bucket, Prefix=key)
                case _:
                    client.put_bucket_policy(Bucket=root.bucket, Policy="{}")
        except ClientError as error:
            code = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if code not in (403, 404):
                raise
            return bool(code == 404)
        return True

    print(json.dumps([act for act in ACTS if may(act)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
