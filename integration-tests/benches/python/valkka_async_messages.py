"""valkka's AsyncBackMessageProcess: a message to the back end, and one back (us)."""

from valkka.multiprocess import AsyncBackMessageProcess, MessageObject

import turn


class PingPong(AsyncBackMessageProcess):
    def preRun__(self):
        turn.settle()

    async def c__ping(self, n=0):
        await self.send_out__(MessageObject("pong", n=n))

    def ping(self, n):
        self.sendMessageToBack(MessageObject("ping", n=n))
        return self.getPipe().recv()["n"]


if __name__ == "__main__":
    process = PingPong()
    process.start()
    assert process.ping(7) == 7
    figure = turn.median_us(lambda: process.ping(7))
    process.stop()
    turn.tell(figure)
