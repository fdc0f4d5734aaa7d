"""cross_process_bridge: a call of a method with an int (us), or with 1 MiB that it returns (GB/s)."""

from cross_process_bridge import CrossProcessBridge

import turn


class Plain:
    def settle(self):
        turn.settle()

    def echo(self, value):
        return value


class Bridged(Plain, CrossProcessBridge):
    pass


if __name__ == "__main__":
    bridged = Bridged()
    bridged.start()
    bridged.settle()
    if turn.WHAT == "int":
        assert bridged.echo(7) == 7
        figure = turn.median_us(lambda: bridged.echo(7))
    else:
        payload = b"\x07" * (1 << 20)
        assert bridged.echo(payload) == payload
        figure = turn.gigabytes_per_s(2 << 20, lambda: bridged.echo(payload))
    bridged.stop()
    turn.tell(figure)
