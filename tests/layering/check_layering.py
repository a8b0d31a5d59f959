#!/usr/bin/env python3
"""Holds the arrows of the design: which room may include what, and who may touch the clock, randomness, threads,
libuv and libraft. Reads the #include lines and calls of every *.c and *.h in proto, raft, node and client.

    check_layering.py ROOT          check a tree
    check_layering.py --self-check  check this checker: each rule on a snippet that breaks it and one that does not
"""
import pathlib
import re
import sys

TOPS = ("proto", "raft", "node", "client")

PROTO = {"proto/base", "proto/record", "proto/native", "proto/kafka"}
RAFT = {"raft/env", "raft/core", "raft/wal", "raft/segment", "raft/transport", "raft/group"}
DOORS = {"node/native", "node/kafka", "node/http"}
CONTROL = PROTO | RAFT | {"node/fsm", "node/shard", "node/control"}
SERVICE = CONTROL | {"node/service"}  # the verbs stand on control: topics, leaders and the read model are its

# Room -> what it may include besides itself: what stands to its left, directly or through others.
ARROWS = {
    "proto/base": set(),
    "proto/record": {"proto/base"},
    "proto/native": {"proto/base", "proto/record"},
    "proto/kafka": {"proto/base", "proto/record"},
    "raft/env": PROTO,
    "raft/core": PROTO | {"raft/env"},
    "raft/wal": PROTO | {"raft/env"},
    "raft/segment": PROTO | {"raft/env"},
    "raft/transport": PROTO | {"raft/env"},
    "raft/group": PROTO | RAFT,
    "node/fsm": PROTO,
    "node/shard": PROTO | RAFT | {"node/fsm"},
    "node/service": SERVICE,
    "node/control": CONTROL,
    "node/native": SERVICE - {"proto/kafka"},
    "node/kafka": SERVICE - {"proto/native"},
    "node/http": SERVICE,
    "node/conn": SERVICE | DOORS,
    "node": SERVICE | DOORS | {"node/conn"},  # main.c, config.*
    "client": PROTO,
}

# System headers that only some places may include: pattern, places (folders, or files in full), reason.
SYSTEM = [
    (r"raft\.h|raft/.*", ("raft/core",), "libraft is driven in raft/core only"),
    (r"uv\.h|uv/.*", ("raft/env", "client/src"), "libuv is used in raft/env and client/src only"),
    (r"pthread\.h|threads\.h|semaphore\.h", ("raft/env", "node/shard", "client/src", "proto/base/buf.c"),
     "threads and locks belong to raft/env, node/shard and client/src"),
]

# Calls that would make a run depend on something else than its input. proto/base/log.c stamps lines for people, in
# a sink that the simulator does not use.
CALLS = re.compile(
    r"(?<![\w.>])(time|clock|clock_gettime|gettimeofday|timespec_get|ftime"
    r"|rand|rand_r|srand|random|srandom|drand48|lrand48|mrand48|getrandom|getentropy|arc4random\w*"
    r"|sleep|usleep|nanosleep|clock_nanosleep)\s*\(")
CALLS_ALLOWED = ("raft/env", "client/src", "client/cli", "proto/base/log.c")

COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def blank(text):
    """The same number of lines, and nothing on them."""
    return " " + "\n" * text.count("\n")


def without_comments(source):
    source = source.replace("\\\n", " ")
    return COMMENT_OR_STRING.sub(lambda m: blank(m[0]) if m[0].startswith("/") else m[0], source)


def without_strings(source):
    return COMMENT_OR_STRING.sub(lambda m: '""', source)


def within(path, places):
    return any(path == place or path.startswith(place + "/") for place in places)


def room_of(path):
    """The room that a path belongs to, or None."""
    parts = path.split("/")
    if parts[0] == "client":
        return "client"
    room = "/".join(parts[:2])
    if len(parts) > 2 and room in ARROWS:
        return room
    return "node" if parts[0] == "node" and len(parts) == 2 else None


def check_own_include(path, room, target):
    """What is wrong with `#include "target"` in path, or None."""
    if target.startswith("cairn/"):
        return None if room == "client" else "the client's headers are for the client and its users"
    if target.split("/")[0] not in TOPS:
        return "own headers are written from the root"
    target_room = room_of(target)
    if target_room is None:
        return f"{target} is in no room of the table"
    if path.startswith("client/examples/"):
        return "examples see what users see: cairn/ only"
    if target_room != room and target_room not in ARROWS[room]:
        return f"{room} may not use {target_room}"
    return None


def check_system_include(path, room, target):
    for pattern, places, reason in SYSTEM:
        if re.fullmatch(pattern, target) and not within(path, places):
            return reason
    if target.split("/")[0] in TOPS and not target.startswith("raft/"):
        return "own headers are included with quotes"
    if target.startswith("cairn/") and room != "client":
        return "the client's headers are for the client and its users"
    return None


def check_source(path, source):
    """All violations in one file, as (line, text)."""
    room = room_of(path)
    if room is None:
        return [(1, "the file is in no room of the table")]
    found = []
    code = without_comments(source)
    installed = path.startswith("client/include/")

    def line_of(position):
        return code.count("\n", 0, position) + 1

    for m in INCLUDE.finditer(code):
        quoted = re.fullmatch(r'"([^"]+)"', m[1])
        angled = re.fullmatch(r"<([^>]+)>", m[1])
        if quoted:
            problem = check_own_include(path, room, quoted[1])
        elif angled:
            problem = check_system_include(path, room, angled[1])
        else:
            problem = "an include that cannot be read"
        name = (quoted or angled or m)[1]
        if problem is None and installed and not (name.startswith("cairn/") or
                                                  (angled and re.fullmatch(r"std\w+\.h", name))):
            problem = "installed headers include only <std*.h> and cairn/"
        if problem:
            found.append((line_of(m.start()), f"#include {m[1]}: {problem}"))

    if not within(path, CALLS_ALLOWED):
        bare = without_strings(code)
        for m in CALLS.finditer(bare):
            found.append((bare.count("\n", 0, m.start()) + 1,
                          f"{m[1]}(): clock and randomness come from raft/env, never from the system"))
    return found


def check_tree(root):
    files = sorted(p for top in TOPS for p in (root / top).rglob("*") if p.suffix in (".c", ".h") and p.is_file())
    if not files:
        print(f"layering: no sources under {root}")
        return 1
    bad = 0
    for file in files:
        path = file.relative_to(root).as_posix()
        for line, text in check_source(path, file.read_text(encoding="utf-8", errors="replace")):
            print(f"{path}:{line}: {text}")
            bad += 1
    print(f"layering: {len(files)} files, {bad} violations")
    return 1 if bad else 0


# path, source, and a part of the expected violation (None: allowed)
CASES = [
    # the arrows
    ("proto/base/a.c", '#include "proto/base/err.h"', None),
    ("proto/base/a.c", '#include "proto/record/batch.h"', "may not use proto/record"),
    ("proto/record/a.c", '#include "proto/native/frame.h"', "may not use proto/native"),
    ("proto/native/a.c", '#include "proto/kafka/api.h"', "may not use proto/kafka"),
    ("proto/kafka/a.c", '#include "proto/native/frame.h"', "may not use proto/native"),
    ("proto/native/a.c", '#include "proto/record/batch.h"', None),
    ("raft/env/a.c", '#include "raft/core/core.h"', "may not use raft/core"),
    ("raft/core/a.c", '#include "raft/wal/wal.h"', "may not use raft/wal"),
    ("raft/wal/a.c", '#include "raft/core/core.h"', "may not use raft/core"),
    ("raft/segment/a.c", '#include "raft/wal/wal.h"', "may not use raft/wal"),
    ("raft/transport/a.h", '#include "raft/group/group.h"', "may not use raft/group"),
    ("raft/wal/a.c", '#include "raft/env/env.h"', None),
    ("raft/group/a.c", '#include "raft/core/core.h"\n#include "raft/wal/wal.h"', None),
    ("raft/group/a.c", '#include "node/shard/shard.h"', "may not use node/shard"),
    ("node/fsm/partition/a.c", '#include "proto/record/batch.h"', None),
    ("node/fsm/partition/a.c", '#include "raft/env/env.h"', "may not use raft/env"),
    ("node/fsm/txn/a.c", '#include "node/shard/shard.h"', "may not use node/shard"),
    ("node/shard/a.c", '#include "raft/group/group.h"', None),
    ("node/shard/a.c", '#include "node/service/produce.h"', "may not use node/service"),
    ("node/service/a.c", '#include "node/native/door.h"', "may not use node/native"),
    ("node/service/a.c", '#include "node/control/control.h"', None),
    ("node/control/a.c", '#include "node/service/verb.h"', "may not use node/service"),
    ("node/control/a.c", '#include "node/conn/conn.h"', "may not use node/conn"),
    ("node/native/a.c", '#include "proto/native/frame.h"', None),
    ("node/native/a.c", '#include "proto/kafka/api.h"', "may not use proto/kafka"),
    ("node/kafka/a.c", '#include "proto/native/frame.h"', "may not use proto/native"),
    ("node/kafka/a.c", '#include "node/native/door.h"', "may not use node/native"),
    ("node/http/a.c", '#include "node/kafka/door.h"', "may not use node/kafka"),
    ("node/conn/a.c", '#include "node/native/door.h"', None),
    ("node/main.c", '#include "node/conn/conn.h"\n#include "node/config.h"', None),
    ("node/conn/a.c", '#include "node/config.h"', "may not use node"),
    ("node/main.c", '#include "client/src/core.h"', "may not use client"),
    ("client/src/a.c", '#include "proto/native/frame.h"', None),
    ("client/src/a.c", '#include "raft/env/env.h"', "may not use raft/env"),
    ("client/cli/a.c", '#include "node/config.h"', "may not use node"),
    ("client/examples/a.c", '#include "client/src/core.h"', "examples see what users see"),
    ("client/examples/a.c", "#include <cairn/cairn.h>", None),
    ("raft/wal/a.c", '#include "tests/sim/disk.h"', "written from the root"),
    ("raft/wal/a.c", '#include "wal.h"', "written from the root"),
    ("raft/wal/a.c", "#include <proto/base/err.h>", "with quotes"),
    ("raft/wal/a.c", "#include HEADER", "cannot be read"),
    ("raft/wal/a.c", '  #  include "node/config.h" /* odd spacing */', "may not use node"),
    ("raft/attic/a.c", "", "in no room"),
    ("raft/wal/a.c", '#include "raft/attic/a.h"', "in no room"),
    # libraries and threads
    ("raft/core/a.c", "#include <raft.h>\n#include <raft/uv.h>", None),
    ("raft/group/a.c", "#include <raft.h>", "raft/core only"),
    ("raft/wal/a.h", "#include <raft/fixture.h>", "raft/core only"),
    ("raft/env/a.c", "#include <uv.h>", None),
    ("client/src/a.c", "#include <uv.h>\n#include <pthread.h>", None),
    ("client/cli/a.c", "#include <uv.h>", "libuv"),
    ("node/conn/a.c", "#include <uv.h>", "libuv"),
    ("proto/base/buf.c", "#include <pthread.h>", None),
    ("proto/base/entry.c", "#include <pthread.h>", "threads and locks"),
    ("node/shard/a.c", "#include <pthread.h>", None),
    ("raft/group/a.c", "#include <threads.h>", "threads and locks"),
    # clock and randomness
    ("raft/core/a.c", "int f(void) { return (int)time(NULL); }", "time()"),
    ("raft/wal/a.c", "clock_gettime(CLOCK_MONOTONIC, &t);", "clock_gettime()"),
    ("node/fsm/txn/a.c", "x = rand ();", "rand()"),
    ("node/control/a.c", "x = random();", "random()"),
    ("node/main.c", "gettimeofday(&tv, NULL);", "gettimeofday()"),
    ("proto/native/a.h", "getrandom(b, 8, 0);", "getrandom()"),
    ("node/shard/a.c", "usleep(1);", "usleep()"),
    ("raft/env/env_uv.c", "clock_gettime(CLOCK_MONOTONIC, &t); getrandom(b, 8, 0);", None),
    ("client/src/driver.c", "clock_gettime(CLOCK_MONOTONIC, &t);", None),
    ("client/examples/a.c", "clock_gettime(CLOCK_MONOTONIC, &t);", "clock_gettime()"),
    ("raft/core/a.c", "x = env->random(env); t = e.time(); entry_time(e); uint64_t (*random)(void);", None),
    ("raft/core/a.c", '/* time() is env\'s */ // rand()\nlog("time(x)");', None),
    ("raft/core/a.c", '/* #include <uv.h> */\n// #include <raft.h>\n#include <stdint.h>', None),
    ("raft/wal/a.c", 'const char *s = "/*"; x = rand(); /* */', "rand()"),
    # installed headers
    ("client/include/cairn/a.h", '#include <stdint.h>\n#include "cairn/types.h"', None),
    ("client/include/cairn/a.h", '#include "proto/base/err.h"', "installed headers"),
    ("client/include/cairn/a.h", "#include <sys/types.h>", "installed headers"),
    ("node/native/a.c", '#include "cairn/types.h"', "the client and its users"),
]


def self_check():
    bad = 0
    for path, source, expected in CASES:
        got = [text for _, text in check_source(path, source)]
        right = not got if expected is None else len(got) == 1 and expected in got[0]
        if not right:
            print(f"self-check: {path}: {source!r}: expected {expected!r}, got {got!r}")
            bad += 1
    lines = check_source("raft/wal/a.c", '/* a\n b */\n#include \\\n "node/config.h"\n\nint x = rand();\n')
    if [line for line, _ in lines] != [3, 5]:  # a continued line counts as one
        print(f"self-check: wrong lines {lines!r}")
        bad += 1
    print(f"layering: self-check of {len(CASES) + 1} cases, {bad} wrong")
    return 1 if bad else 0


def main():
    if sys.argv[1:] == ["--self-check"]:
        return self_check()
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    return self_check() or check_tree(pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
