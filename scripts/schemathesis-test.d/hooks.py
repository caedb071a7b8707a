"""What schemathesis cannot know from the document: what is there, that a chunk is called by its digest, and what a
bundle is. Without this nearly everything would be refused at the door."""

import hashlib
import io
import json
import re
import tarfile
import uuid

import schemathesis
from hypothesis import strategies as st

ROOT = str(uuid.UUID(int=0))
# What the script, and the document's examples, upload; and a user who may be deleted.
USER = "67e55044-10b1-426f-9247-bb680e5fe0c8"
TRANSACTION = "11111111-1111-4111-8111-111111111111"
DOOMED = "99999999-9999-4999-8999-999999999999"
CHUNK = hashlib.sha256(b"milk").hexdigest()

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")


def as_bytes(value):
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


for media in ("x-tar", "vnd.taskchampion.history-segment", "vnd.taskchampion.snapshot"):
    schemathesis.serializer(f"application/{media}")(lambda ctx, value: as_bytes(value))


def digest(content):
    return hashlib.sha256(content).hexdigest()


def bundle(chunks, transaction, with_head):
    """A bundle of one transaction after the root, as a user without a history may push it."""
    ids = [digest(content) for content in chunks]
    fields = {"id": transaction, "seq": 1, "parent": ROOT, "chunks": ids}
    line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
    members = {f"chunks/{i[:2]}/{i}": content for i, content in zip(ids, chunks)}
    members[f"transactions/{transaction[:2]}/{transaction}.json"] = line
    if with_head:
        members["HEAD"] = transaction.encode() + b"\n"
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


whole = st.builds(bundle, st.lists(st.binary(max_size=64), max_size=3), st.uuids().map(str), st.booleans())
cut = st.builds(lambda tar, length: tar[: length % len(tar)], whole, st.integers(min_value=0))
schemathesis.openapi.media_type("application/x-tar", whole | cut | st.binary())


def or_known(values, name, known):
    """Puts what is there in the place of half of the ids that are well spelt."""
    value = values.get(name) if values else None
    if isinstance(value, str) and ID.fullmatch(value) and value[0] < "8":
        values[name] = known


@schemathesis.hook("map_case")
def what_is_there(ctx, case):
    or_known(case.path_parameters, "user", USER)
    if case.method.upper() in ("GET", "HEAD"):
        or_known(case.path_parameters, "transaction", TRANSACTION)
        or_known(case.path_parameters, "chunk", CHUNK)
        or_known(case.query, "from", TRANSACTION)
        or_known(case.query, "to", TRANSACTION)
    if isinstance(case.body, dict):
        or_known(case.body, "parent", TRANSACTION)
    return case


@schemathesis.hook("map_case").apply_to(operation_id="putChunk")
def half_by_its_name(ctx, case):
    """Half of the bodies get the address that they ask for; the rest are mismatches, as they come."""
    if isinstance(case.body, (bytes, str)) and case.path_parameters and len(case.body) % 2 == 0:
        case.path_parameters["chunk"] = digest(as_bytes(case.body))
    return case


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Whoever is deleted again and again has nothing for the others to find."""
    if case.method.upper() == "DELETE" and (case.path_parameters or {}).get("user") == USER:
        case.path_parameters["user"] = DOOMED
