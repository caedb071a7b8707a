"""Writers for users who move from box to box, and what became of what they were told.

    load.py write PORT LEDGER STOP TURN THREADS USERS   until the file STOP is there; then prints what happened, in JSON
    load.py seed PORT LEDGER COUNT USERS                so many advances for each user
    load.py lost PORT-OR-ADDRESS LEDGER USERS           what was told before now, and how much of that is not on the chain
    load.py goes-on LEDGER COUNT SECONDS USERS          waits for so many advances of each user that come after now

PORT is that of a proxy with TLS, ADDRESS a box's own. USERS is a file with an id a line. LEDGER gets a line for each advance that was
acknowledged, and for each HEAD that was read: the user, the transaction, and `acknowledged` or `read`.

A writer takes 409, 421, 502, and 503 as "try again", and knows nothing after a connection that was cut: then it asks for HEAD. Anything else
is wrong; so is a HEAD that is behind one that was told before it was asked for. TURN is a file with the addresses of the boxes, the one
that users move to first: all of them are asked, in this order, and two that serve a user at once are wrong, unless TURN changed meanwhile.
"""
import collections, hashlib, http.client, json, os, random, ssl, sys, threading, time, uuid

ROOT = "00000000-0000-0000-0000-000000000000"
NOT_YET = {(409, "has-descendants"), (409, "not-a-descendant"), (409, "unknown-parent"), (421, "wrong-shard"),
           (503, "moving"), (503, "busy"), (502, None), (503, None)}


class Asker:
    """Asks over one connection, and over another one when that is cut."""
    context = ssl._create_unverified_context()

    def __init__(self, where):
        self.where, self.connection = where, None

    def ask(self, method, path, body=None):
        """The status and what the body says; status 0 where no answer came."""
        try:
            if not self.connection:
                host, _, port = self.where.rpartition(":")
                self.connection = (http.client.HTTPConnection(host, int(port), timeout=20) if host else
                                   http.client.HTTPSConnection("127.0.0.1", int(port), context=self.context, timeout=20))
            self.connection.request(method, path, body, {"Host": "sync.example.org"})
            answer = self.connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            if self.connection:
                self.connection.close()
            self.connection = None
            return 0, {}
        return answer.status, json.loads(said) if "json" in answer.headers.get("Content-Type", "") else {}


class Ledger:
    """What was told to whom, and what was not as it should be."""

    def __init__(self, path):
        self.file, self.lock = open(path, "a", buffering=1), threading.Lock()
        self.floor, self.told, self.counts, self.wrong = collections.Counter(), set(), collections.Counter(), []

    def tells(self, user, transaction, seq, how):
        with self.lock:
            self.floor[user] = max(self.floor[user], seq)
            self.counts[how] += 1
            if how == "acknowledged" or transaction not in self.told and transaction != ROOT:
                self.file.write(f"{user} {transaction} {how}\n")
            self.told.add(transaction)

    def is_wrong(self, words):
        with self.lock:
            self.wrong.append(words)


def look(asker, ledger, user):
    """HEAD and its number; nothing where it is not to be had now."""
    floor = ledger.floor[user]
    status, said = asker.ask("GET", f"/0.1/{user}/head")
    if status != 200:
        return refused(ledger, "GET head", status, said)
    if said["seq"] < floor:
        ledger.is_wrong(f"HEAD of {user} is number {said['seq']}, after {floor} was told")
        return None
    ledger.tells(user, said["head"], said["seq"], "read")
    return said["head"], said["seq"]


def refused(ledger, what, status, said):
    ledger.counts[f"{status} {said.get('code', '')}".strip() if status else "cut"] += 1
    if status and (status, said.get("code")) not in NOT_YET:
        ledger.is_wrong(f"{what}: {status} {said}")


def advance(asker, ledger, user, head):
    """Advances HEAD from what is known of it; the new HEAD, or nothing."""
    parent, seq = head
    transaction = str(uuid.uuid4())
    chunks = {hashlib.sha256(bytes).hexdigest(): bytes for bytes in [random.randbytes(random.randrange(4096))] * random.randrange(2)}
    puts = [(f"chunks/{chunk}", bytes, 201) for chunk, bytes in chunks.items()]
    puts.append((f"transactions/{transaction}", json.dumps({"parent": parent, "chunks": list(chunks)}), 201))
    puts.append(("head", json.dumps({"head": transaction}), 204))
    for path, body, good in puts:
        status, said = asker.ask("PUT", f"/0.1/{user}/{path}", body)
        if status != good:
            return refused(ledger, f"PUT {path}", status, said)
    ledger.tells(user, transaction, seq + 1, "acknowledged")
    return transaction, seq + 1


def writer(port, ledger, stop, users):
    asker, heads = Asker(port), {}
    while not os.path.exists(stop):
        user = random.choice(users)
        head = heads.get(user) or look(asker, ledger, user)
        heads[user] = head and advance(asker, ledger, user, head)
        if not heads[user]:
            time.sleep(random.uniform(0.005, 0.03))


def witness(ledger, stop, turn, users):
    """Sees that no two boxes serve a user at once."""
    askers = collections.defaultdict(lambda: None)
    while not os.path.exists(stop):
        time.sleep(0.005)
        with open(turn) as file:
            now = file.read()
        for user in users:
            serving = []
            for address in now.split():
                askers[address] = askers[address] or Asker(address)
                if askers[address].ask("GET", f"/0.1/{user}/head")[0] == 200:
                    serving.append(address)
            with open(turn) as file:
                if file.read() != now:
                    break
            ledger.counts["looks"] += 1
            if len(serving) > 1:
                ledger.is_wrong(f"{user} is served by {' and '.join(serving)}")


def write(port, path, stop, turn, threads, users):
    ledger = Ledger(path)
    threading.excepthook = lambda raised: ledger.is_wrong(f"a thread ended: {raised.exc_value!r}")
    running = [threading.Thread(target=writer, args=(port, ledger, stop, users)) for _ in range(int(threads))]
    if turn:
        running.append(threading.Thread(target=witness, args=(ledger, stop, turn, users)))
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(json.dumps({"wrong": ledger.wrong[:9], "wrongs": len(ledger.wrong), "counts": ledger.counts}))


def seed(port, path, count, users):
    asker, ledger = Asker(port), Ledger(path)
    for user in users:
        head = (ROOT, 0)
        for _ in range(int(count)):
            head = advance(asker, ledger, user, head) or sys.exit(f"{user} is not written to: {ledger.counts}")


def told(path, users):
    """What was told of each user up to now, as (transaction, how)."""
    by_user = {user: set() for user in users}
    with open(path) as file:
        for line in file:
            user, *what = line.split()
            if user in by_user and line.endswith("\n"):
                by_user[user].add(tuple(what))
    return by_user


def lost(where, path, users):
    """Prints how much was acknowledged, how much of it is not there, and how much that was read is not there."""
    acknowledged, absent = 0, collections.Counter()
    asker = Asker(where)
    for user, what in told(path, users).items():
        for _ in range(200):
            status, said = asker.ask("GET", f"/0.1/{user}/transactions")
            if status == 200:
                break
            time.sleep(0.05)
        else:
            sys.exit(f"{user} is not told: {status} {said}")
        chain = set(said["transactions"])
        acknowledged += sum(how == "acknowledged" for _, how in what)
        absent.update(how for transaction, how in what if transaction not in chain)
    print(acknowledged, absent["acknowledged"], absent["read"])


def goes_on(path, more, seconds, users):
    def count():
        return {user: sum(how == "acknowledged" for _, how in what) for user, what in told(path, users).items()}
    before, end = count(), time.monotonic() + float(seconds)
    while any(now < before[user] + int(more) for user, now in count().items()):
        if time.monotonic() > end:
            sys.exit("not every user goes on")
        time.sleep(0.1)


command, *words, listed = sys.argv[1:]
with open(listed) as file:
    users = file.read().split()
{"write": write, "seed": seed, "lost": lost, "goes-on": goes_on}[command](*words, users)
