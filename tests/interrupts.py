"""Real SIGINTs at random moments, which end the call that they are meant for and never the test itself."""

import os
import random
import signal
import threading


def interrupted(action, seed, longest=0.01):
    """Call `action` again and again until another thread has sent one SIGINT or two, at random moments; whether a
    KeyboardInterrupt came out of it."""
    rng = random.Random(seed)
    delays = [rng.random() * longest for _ in range(rng.choice([1, 2]))]
    inside, begun = [False], threading.Event()

    def handler(number, frame):
        if inside[0]:
            raise KeyboardInterrupt

    def send():
        begun.wait()
        for delay in delays:
            threading.Event().wait(delay)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        try:
            begun.set()
            inside[0] = True
            while sender.is_alive():
                action()
        finally:
            inside[0] = False  # from here on the handler raises nothing
        came = False
    except KeyboardInterrupt:
        came = True
    sender.join()
    assert signal.getsignal(signal.SIGINT) is handler
    signal.signal(signal.SIGINT, before)
    return came
