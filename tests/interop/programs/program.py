"""What the Python programs share: the command line of README.md, JSON lines, and SIGTERM as a wish to end."""
import json
import signal
import sys

NUMBERS = ("first", "count", "time_ms")


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


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
