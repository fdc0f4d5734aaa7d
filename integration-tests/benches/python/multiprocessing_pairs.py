"""multiprocessing itself: an int there and back through a Pipe, or two Events (us)."""

import multiprocessing

import turn


def answer(end):
    turn.settle()
    while (value := end.recv()) is not None:
        end.send(value)


def set_back(there, back):
    turn.settle()
    while True:
        there.wait()
        there.clear()
        back.set()


def pipe():
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=answer, args=(there,))
    process.start()

    def one():
        here.send(7)
        assert here.recv() == 7

    figure = turn.median_us(one)
    here.send(None)
    process.join()
    return figure


def events():
    there, back = multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=set_back, args=(there, back))
    process.start()

    def one():
        there.set()
        back.wait()
        back.clear()

    figure = turn.median_us(one)
    process.kill()
    process.join()
    return figure


if __name__ == "__main__":
    turn.tell(pipe() if turn.WHAT == "pipe" else events())
