"""A user moves from box to box: the states of the file `frozen`, and who may take which step, in every order of the steps
of sends, thaws and writes, with a kill or a power cut of any box at each.

    python3 move.py               the steps as they stand: millions of states, some minutes
    python3 move.py --most 50000  so many of them, the nearest
    python3 move.py -token        one rule taken away: somebody notices, with the shortest trace
    python3 move.py all           the steps as they stand, and each rule taken away

A box has the user's folder or not. In it: `frozen` (st; none is thawed), `move` (mv, the name of the move that the folder takes part in),
and all the rest (data: how many advances it holds, or None). What is not synced may be lost in a power cut, file by file.

Rules, each of which can be taken away:
  lock     freeze waits for whoever writes, and a write that begins later is refused
  rest     what came since the live copy is copied once the user is frozen
  there    the copy is synced before the user is gone here
  order    gone here comes before ready there
  gone     gone is synced before ready there
  token    gone, ready and what follows are for the one move that `move` names, on both sides
  again    each try of a send that is not past gone is a move of its own
  held     a send holds the lock there from its beginning to its end
  resync   gone is synced again by whoever goes on from it: who wrote it may have been killed before that
  thaw     a thaw refuses gone and incoming
And covered by those: `empty`, what is here goes once it is ready there, and not before; `fresh`, a folder there that is neither gone nor
incoming is no place for a copy.
Promises: never is a user thawed on two boxes; who is thawed has all that was acknowledged; and whatever stops, a repeated send and a
thaw bring the user back."""
import sys
from collections import deque
RULES = ('lock', 'rest', 'there', 'order', 'gone', 'token', 'again', 'held', 'resync', 'thaw')
# Covered by the others within these bounds: they are for what the model has not, a disk that loses what was synced, and a client that
# made a folder there before the user came.
COVERED = ('empty', 'fresh')
ST, MV, DATA, LOCK = 0, 1, 2, 3           # of a box: (now, durable) three times, and who holds the lock
ABSENT = 'absent'                         # no folder at all

class World:
    """boxes, what was acknowledged, processes under way, moves named so far, and how much more may happen"""
    __slots__ = ('boxes', 'acked', 'runs', 'names', 'left')
    def __init__(self, boxes, acked, runs, names, left): self.boxes, self.acked, self.runs, self.names, self.left = boxes, acked, runs, names, left
    def key(self): return (tuple(tuple(b) for b in self.boxes), self.acked, tuple(sorted(self.runs.items())), self.names, tuple(sorted(self.left.items())))
    def copy(self): return World([list(b) for b in self.boxes], self.acked, dict(self.runs), self.names, dict(self.left))
    def now(self, box, what): return self.boxes[box][what][0]
    def put(self, box, what, value): self.boxes[box][what] = (value, self.boxes[box][what][1])
    def sync(self, box, *what):
        for w in what: self.boxes[box][w] = (self.now(box, w),) * 2
    def free(self, box, run): return self.boxes[box][LOCK] in (None, run)
    def thawed(self, box): return self.now(box, ST) is None and self.now(box, DATA) is not None

def send(w, run, F):
    """One step of `users send`, which ends by being taken off the list. (kind, from, to, step, name of the move, froze it itself)"""
    _, a, b, step, mv, froze = w.runs[run]
    def at(step, mv=mv, froze=froze): w.runs[run] = ('send', a, b, step, mv, froze)
    def end():
        del w.runs[run]
        for box in (a, b):
            if w.boxes[box][LOCK] == run: w.boxes[box][LOCK] = None
    def fail():
        """A send that fails thaws here, where it froze and the move is still its own."""
        if froze and w.free(a, run) and w.now(a, ST) == 'frozen' and w.now(a, MV) == mv:
            w.put(a, ST, None); w.put(a, MV, None); w.sync(a, ST, MV)
        end()
    if step == 'begin':
        if not w.free(b, run): return 'waits'
        if 'held' in F: w.boxes[b][LOCK] = run
        w.runs[run] = ('send', a, b, 'name', mv, froze)
    elif step == 'name':
        if not w.free(a, run): return 'waits'
        here = w.now(a, ST)
        if here == 'gone':
            if 'resync' in F: w.sync(a, ST, MV)
            at('resume', w.now(a, MV)); return 'is gone already'
        if here not in (None, 'frozen') or w.now(a, DATA) is None: end(); return 'nothing to send'
        if 'again' not in F and w.now(a, MV): at('incoming', w.now(a, MV)); return 'takes up'
        w.names += 1; at('incoming', w.names)
        w.put(a, MV, w.names); w.sync(a, MV)                   # here first, where the user is not gone
    elif step == 'incoming':
        there = w.now(b, ST)
        if not w.free(b, run): return 'waits'
        if there not in (ABSENT, 'gone', 'incoming') and 'fresh' in F: end(); return 'refused there'
        w.put(b, MV, mv); w.sync(b, MV)
        at('incoming2')
    elif step == 'incoming2':
        w.put(b, ST, 'incoming'); w.sync(b, ST); at('copy')
    elif step == 'copy':
        w.put(b, DATA, w.now(a, DATA)); at('freeze')            # live: rsync beside writers
    elif step == 'freeze':
        if not w.free(a, run): return 'waits'
        if w.now(a, ST) not in (None, 'frozen'): end(); return 'no more to be frozen'
        if 'token' in F and w.now(a, MV) != mv: end(); return 'another move here'
        w.boxes[a][LOCK] = run
        w.put(a, MV, mv); w.sync(a, MV); at('freeze2')
    elif step == 'freeze2':
        if w.now(a, ST) == 'frozen': w.sync(a, ST, DATA); w.boxes[a][LOCK] = None; at('rest'); return 'was frozen'
        w.put(a, ST, 'frozen'); at('freeze3', froze=True)
    elif step == 'freeze3':
        w.sync(a, ST, DATA); w.boxes[a][LOCK] = None; at('rest', froze=True)
    elif step == 'rest':
        if not w.free(b, run): return 'waits'
        if w.now(b, ST) != 'incoming' or ('token' in F and w.now(b, MV) != mv): fail(); return 'another move there'
        if 'rest' in F: w.put(b, DATA, w.now(a, DATA))
        if 'there' in F: w.sync(b, DATA)
        at('gone' if 'order' in F else 'ready')
    elif step == 'gone':
        if not w.free(a, run): return 'waits'
        if w.now(a, ST) != 'frozen' or ('token' in F and w.now(a, MV) != mv): fail(); return 'was thawed meanwhile'
        w.put(a, ST, 'gone')
        if 'gone' in F: at('gone2')
        else: at('ready')
    elif step == 'gone2':
        w.sync(a, ST); at('ready' if 'order' in F else 'empty')
    elif step == 'resume':
        there, theirs = w.now(b, ST), w.now(b, MV) == mv or 'token' not in F
        if there == 'incoming' and theirs: at('ready')
        elif there in (None, 'ready') and theirs: at('empty')
        else: end(); return 'it is another move there'
    elif step == 'ready':
        if not w.free(b, run): return 'waits'
        if w.now(b, ST) != 'incoming' or ('token' in F and w.now(b, MV) != mv): end(); return 'another move there'
        if 'empty' not in F: w.put(a, DATA, None)
        w.put(b, ST, 'ready'); at('ready2')
    elif step == 'ready2':
        w.sync(b, ST); at('empty' if 'order' in F else 'gone')
    elif step == 'empty':
        if w.now(a, ST) == 'gone' and (w.now(a, MV) == mv or 'token' not in F): w.put(a, DATA, None)
        end()
    return step

def write(w, run, F):
    _, a, _, step, _, _ = w.runs[run]
    if step == 'begin':
        if not w.free(a, run): return 'waits'
        if not w.thawed(a): del w.runs[run]; return 'refused'
        if 'lock' in F: w.boxes[a][LOCK] = run
        w.runs[run] = ('write', a, a, 'write', 0, False)
    else:
        w.put(a, DATA, w.now(a, DATA) + 1); w.sync(a, DATA)
        w.acked += 1
        if w.boxes[a][LOCK] == run: w.boxes[a][LOCK] = None
        del w.runs[run]
    return 'write ' + step

def thaw(w, box, F):
    may = ('frozen', 'ready') if 'thaw' in F else ('frozen', 'ready', 'gone', 'incoming')
    if w.now(box, ST) not in may or w.now(box, DATA) is None or w.boxes[box][LOCK] is not None: return False
    if w.now(box, ST) == 'frozen': w.put(box, MV, None)         # what was moving is not any more; who came keeps it as a receipt
    w.put(box, ST, None); w.sync(box, ST, MV)
    return True

def step(w, run, F): return (send if w.runs[run][0] == 'send' else write)(w, run, F)

def next_of(w, F):
    for run in sorted(w.runs):
        n = w.copy(); said = step(n, run, F)
        if n.key() != w.key(): yield '%s %d: %s' % (w.runs[run][0], run, said), n
        if w.left['kill'] > 0:
            n = w.copy(); del n.runs[run]; n.left['kill'] -= 1
            for b in n.boxes:
                if b[LOCK] == run: b[LOCK] = None
            yield 'kill %d' % run, n
    for kind, most in (('send', ((0, 1), (0, 2), (1, 0))), ('write', ((0, 0), (1, 1), (2, 2)))):
        if w.left[kind] > 0 and len(w.runs) < w.left['once']:
            for a, b in most:
                if w.now(a, ST) == ABSENT or kind == 'write' and not w.thawed(a): continue
                n = w.copy(); n.left[kind] -= 1
                n.runs[max(w.runs, default=0) + 1] = (kind, a, b, 'begin', 0, False)
                yield '%s %d -> %d' % (kind, a, b), n
    if w.left['thaw'] > 0:
        for box in range(3):
            n = w.copy()
            if thaw(n, box, F): n.left['thaw'] -= 1; yield 'thaw %d' % box, n
    if w.left['cut'] > 0:
        for box in range(3):
            open_ = [i for i in (ST, MV, DATA) if w.boxes[box][i][0] != w.boxes[box][i][1]]
            if not open_: continue
            for kept in range(1 << len(open_)):
                n = w.copy(); n.left['cut'] -= 1
                for bit, i in enumerate(open_): n.boxes[box][i] = (w.boxes[box][i][0 if kept >> bit & 1 else 1],) * 2
                # Whoever was at work here or on the other side of it is no more.
                n.runs = {r: v for r, v in w.runs.items() if box not in v[1:3]}
                for b in n.boxes:
                    if b[LOCK] not in n.runs: b[LOCK] = None
                yield 'cut %d' % box, n

def comes_back(w, F):
    """Whether sends that are repeated, and thaws, bring the user back with all that was acknowledged; nobody is at work."""
    def served(w): return any(w.thawed(i) and w.now(i, DATA) >= w.acked for i in range(3))
    def tries(w):
        for box in range(3):
            n = w.copy()
            if thaw(n, box, F): yield n
        for a in range(3):
            for b in range(3):
                if a == b or w.now(a, ST) != 'gone': continue
                n = w.copy(); n.runs = {1: ('send', a, b, 'begin', 0, False)}
                for _ in range(40):
                    if 1 not in n.runs: break
                    step(n, 1, F)
                yield n
    seen, todo = set(), [w]
    while todo:
        w = todo.pop()
        if served(w): return True
        for n in tries(w):
            if n.key() not in seen: seen.add(n.key()); todo.append(n)
    return False

def broken(w, F):
    thawed = [i for i in range(3) if w.thawed(i)]
    if len(thawed) > 1: return 'both thawed: %s' % thawed
    for i in thawed:
        if w.now(i, DATA) < w.acked: return 'acknowledged and lost on box %d' % i
    if not w.runs and not thawed and not comes_back(w, F): return 'neither for good'

# How much may happen: what is wrong shows in one of these, the small ones first; the steps as they stand get the last.
BOUNDS = (
    dict(send=3, write=0, thaw=2, kill=1, cut=0, once=1),
    dict(send=2, write=1, thaw=2, kill=1, cut=1, once=1),
    dict(send=2, write=0, thaw=2, kill=1, cut=1, once=2),
    dict(send=3, write=0, thaw=2, kill=2, cut=0, once=2),
    dict(send=3, write=2, thaw=2, kill=2, cut=1, once=2),
)

def explore(F, most=2_000_000, bounds=BOUNDS[-1]):
    start = World([[(None, None), (None, None), (0, 0), None]] + [[(ABSENT, ABSENT), (None, None), (None, None), None] for _ in range(2)],
        0, {}, 0, dict(bounds))
    seen, todo = {start.key(): None}, deque([start])
    while todo:
        w = todo.popleft()
        for what, n in next_of(w, F):
            k = n.key()
            if k in seen: continue
            seen[k] = (w.key(), what)
            wrong = broken(n, F)
            if wrong:
                trace = []
                while seen[k]: k, what = seen[k]; trace.append(what)
                return len(seen), wrong, trace[::-1]
            if len(seen) >= most: return len(seen), None, []
            todo.append(n)
    return len(seen), None, []

def main():
    words = sys.argv[1:]
    most = 2_000_000
    if '--most' in words:
        at = words.index('--most'); most = int(words[at + 1]); del words[at:at + 2]
    word = words[0] if words else ''
    gone = list(RULES) if word == 'all' else [word[1:]] if word else []
    unknown = {rule for one in gone for rule in one.split('+')} - set(RULES + COVERED)
    if unknown: sys.exit('no such rule: %s' % ', '.join(sorted(unknown)))
    if word in ('', 'all'):
        states, wrong, trace = explore(set(RULES + COVERED), most)
        print('as it stands: %d states, %s' % (states, wrong or 'ok')); sys.stdout.flush()
        if wrong: sys.exit('\n'.join(trace))
    unseen = []
    for one in gone:
        for bounds in BOUNDS:
            states, wrong, trace = explore(set(RULES + COVERED) - set(one.split('+')), 200_000, bounds)
            if wrong: break
        print('without %s: %d states, %s: %s' % (one, states, wrong or 'NOBODY NOTICED', '; '.join(trace))); sys.stdout.flush()
        if not wrong: unseen.append(one)
    if unseen: sys.exit('nobody noticed that these are gone: ' + ', '.join(unseen))
main()
