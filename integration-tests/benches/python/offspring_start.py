"""offspring: an empty task from its start to its end (us), plain or with WAIT_FOR_CHILD."""

import offspring

import turn


class Plain(offspring.Subprocess):
    def run(self):
        pass


class Waited(Plain):
    WAIT_FOR_CHILD = True


if __name__ == "__main__":
    task = Plain if turn.WHAT == "plain" else Waited

    def one():
        task().wait()
        # It keeps every task that there was.
        for known in Plain, Waited:
            known._INSTANCES = None

    turn.tell(turn.median_us(one))
