"""What the Python programs share: the command line of README.md, JSON lines, and SIGTERM as a wish to end."""
import json
import signal
import sys
import threading
import time

NUMBERS = ("first", "count", "time_ms")


_saying = threading.Lock()


def say(**what):
    with _saying:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def now():
    """The same clock in all programs (CLOCK_MONOTONIC)."""
    return time.monotonic()


def until(wanted, look):
    """What @look tells, @wanted at last; if that does not come to be, something else."""
    for _ in range(300):
        found = look()
        if found == wanted:
            break
        time.sleep(0.1)
    return found


class Uncommitted:
    """What was said and is not committed yet: of each partition, the next offset."""

    def __init__(self):
        self.next = {}
        self.count = 0

    def add(self, partition, offset):
        self.next[partition] = offset + 1
        self.count += 1

    def commit(self, action, errors):
        """@action is asked to commit @next; what it refuses stays uncommitted, and is said."""
        if not self.next:
            return
        try:
            action(self.next)
        except errors as e:
            say(commit=str(e) or type(e).__name__)
            return
        say(committed=self.next, t=now())
        self.forget()

    def forget(self):
        """Another one's now; who owns it next begins at what is committed."""
        self.next = {}
        self.count = 0


class Stop:
    """Was the end asked for? @then is called at once when it is."""

    def __init__(self, then=None):
        self.asked = False
        self.then = then
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number, _frame):
        self.asked = True
        if self.then:
            self.then()


def run(commands):
    """argv: COMMAND key=value..."""
    arguments = dict(argument.split("=", 1) for argument in sys.argv[2:])
    for name in NUMBERS:
        if name in arguments:
            arguments[name] = int(arguments[name])
    if "rate" in arguments:
        arguments["rate"] = float(arguments["rate"])
    try:
        commands[sys.argv[1]](**arguments)
    except Exception as e:  # whatever a client throws is what the test wants to see
        say(failed="%s: %s" % (type(e).__name__, e))
        return 1
    return 0
