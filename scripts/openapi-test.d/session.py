"""Two devices of one user, with the client that was generated: clone, commit, conflict, push. The address is the argument."""

import hashlib
import io
import sys
import tarfile
import uuid

from mentat_sync_client import Client
from mentat_sync_client.api.about import get_version
from mentat_sync_client.api.bundle import get_bundle, post_bundle
from mentat_sync_client.api.chunks import get_chunk, post_missing, put_chunk
from mentat_sync_client.api.head import get_head, put_head
from mentat_sync_client.api.transactions import get_transaction, get_transactions, put_transaction
from mentat_sync_client.api.user import get_store
from mentat_sync_client.models import (
    AdvanceConflictProblem,
    AdvanceConflictProblemCode,
    BadChunkProblem,
    Head,
    MissingChunksProblem,
    ProposedHead,
    ProposedTransaction,
)
from mentat_sync_client.types import File

ROOT = "00000000-0000-0000-0000-000000000000"
USER = str(uuid.uuid4())
client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)


def upload(data):
    """Uploads a chunk; gives back its id."""
    chunk = hashlib.sha256(data).hexdigest()
    answer = put_chunk.sync_detailed(USER, chunk, client=client, body=File(payload=io.BytesIO(data)))
    assert answer.status_code == 201, answer
    return chunk


def commit(parent, chunks):
    """Uploads a transaction under a new id; gives back the id."""
    transaction = str(uuid.uuid4())
    body = ProposedTransaction(parent=parent, chunks=chunks)
    answer = put_transaction.sync_detailed(USER, transaction, client=client, body=body)
    assert answer.status_code == 201, answer
    return transaction


def advance(transaction):
    return put_head.sync_detailed(USER, client=client, body=ProposedHead(head=transaction))


def clone(after):
    """The transactions after this one with the bytes of their chunks."""
    pulled = []
    for transaction in get_transactions.sync(USER, client=client, from_=after).transactions:
        chunks = get_transaction.sync(USER, transaction, client=client).chunks
        pulled.append((transaction, [get_chunk.sync(USER, chunk, client=client).payload.read() for chunk in chunks]))
    return pulled


assert get_version.sync(client=client).name.value == "mentat-sync"
assert get_store.sync(USER, client=client).limits.chunk_bytes == 1 << 30
assert clone(ROOT) == []

# The phone commits.
milk = bytes(range(256)) * 3
phone = commit(ROOT, [upload(milk)])
assert advance(phone).status_code == 204
assert get_head.sync(USER, client=client) == Head(head=phone, seq=1)

# The laptop has built on the root as well: a conflict, which says where HEAD is.
eggs = b"eggs"
laptop = commit(ROOT, [upload(eggs)])
lost = advance(laptop).parsed
assert isinstance(lost, AdvanceConflictProblem), lost
assert (lost.status.value, lost.code) == (409, AdvanceConflictProblemCode.NOT_A_DESCENDANT), lost
assert (lost.head, lost.seq) == (phone, 1), lost

# It pulls, and says its own again under a new id.
assert clone(ROOT) == [(phone, [milk])]
again = commit(lost.head, [hashlib.sha256(eggs).hexdigest()])
assert advance(again).status_code == 204
assert clone(phone) == [(again, [eggs])]

# Refusals are values with types of their own.
wrong = put_chunk.sync(USER, "0" * 64, client=client, body=File(payload=io.BytesIO(b"x")))
assert isinstance(wrong, BadChunkProblem) and wrong.code.value == "digest-mismatch", wrong
body = ProposedTransaction(parent=again, chunks=["0" * 64])
lacking = put_transaction.sync(USER, str(uuid.uuid4()), client=client, body=body)
assert isinstance(lacking, MissingChunksProblem) and lacking.missing == ["0" * 64], lacking
assert post_missing.sync(USER, client=client, body=["0" * 64]).missing == ["0" * 64]

# All of it as one bundle, and the same to another user.
pulled = get_bundle.sync(USER, client=client).payload.read()
names = tarfile.open(fileobj=io.BytesIO(pulled)).getnames()
assert names[-1] == "HEAD" and len(names) == 5, names
pushed = post_bundle.sync(str(uuid.uuid4()), client=client, body=File(payload=io.BytesIO(pulled)))
assert (pushed.head, pushed.seq, pushed.stored.chunks) == (again, 2, 2), pushed
print("python: clone, commit, conflict, push and bundle went well")
