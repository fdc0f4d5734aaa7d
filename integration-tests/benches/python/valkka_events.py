"""valkka's EventGroup and SyncIndex: the front end reserves an event, tells the back end its index by a
message, and waits until the back end has set it (us)."""

from valkka.multiprocess import EventGroup, MessageObject, MessageProcess, SyncIndex

import turn


class Setter(MessageProcess):
    def __init__(self):
        super().__init__()
        self.events = EventGroup(2)

    def preRun__(self):
        turn.settle()

    def c__set(self, index=None):
        self.events.set(index)

    def round_trip(self):
        with SyncIndex(self.events) as index:
            self.sendMessageToBack(MessageObject("set", index=index))


if __name__ == "__main__":
    process = Setter()
    process.start()
    figure = turn.median_us(process.round_trip)
    process.stop()
    turn.tell(figure)
