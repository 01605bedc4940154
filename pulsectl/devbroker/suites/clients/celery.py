#!/usr/bin/python3 -P
"""Scenarios with Celery, kombu and py-amqp: a worker with its defaults, results by reply queue, tasks that are due later."""
import os
import subprocess
import sys
import time

from celery import Celery, group
from kombu import Connection, Consumer, Exchange, Producer, Queue

URL = os.environ["AMQP_URL"]
NAME = "celery-suite"

app = Celery(NAME, broker=URL, backend="rpc://")
app.conf.update(
    task_default_queue=NAME, task_acks_late=True, worker_prefetch_multiplier=1, worker_concurrency=1, result_expires=60,
    task_queue_max_priority=5, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
)
started = []


@app.task(name="add")
def add(a, b):
    return a + b


@app.task(name="failing", bind=True, max_retries=2, default_retry_delay=0.1)
def failing(self):
    raise self.retry(exc=ValueError("attempt %d" % self.request.retries))


@app.task(name="now")
def now():
    return time.time()


@app.task(name="nap")
def nap(seconds):
    time.sleep(seconds)
    return seconds


def results():
    assert add.delay(2, 3).get(timeout=20) == 5


def groups():
    assert group(add.s(i, i) for i in range(20))().get(timeout=30) == [2 * i for i in range(20)]


def chains():
    assert (add.s(1, 1) | add.s(2) | add.s(3))().get(timeout=30) == 7


def retries():
    try:
        failing.delay().get(timeout=30)
    except ValueError as error:
        assert str(error) == "attempt 2", error
        return
    raise AssertionError("did not fail")


def due_later():
    """Tasks that are due must not wait behind ones that are due later: the worker raises its prefetch for those."""
    later = [now.apply_async(countdown=60) for _ in range(5)]
    soon = now.apply_async(countdown=1)
    begun = time.time()
    assert add.delay(1, 1).get(timeout=20) == 2
    assert soon.get(timeout=20) - begun >= 0.5
    for result in later:
        result.revoke()


def revoked():
    """A control message reaches the worker through its pidbox exchange, and the answer comes back."""
    replies = app.control.ping(timeout=5)
    assert len(replies) == 1 and list(replies[0].values())[0] == {"ok": "pong"}, replies
    assert app.control.inspect(timeout=5).active_queues()


def late_acknowledgement():
    """A worker that is killed at work gives its task to the next one."""
    global worker
    result = nap.apply_async((3,))
    time.sleep(1.5)
    worker.kill()
    worker.wait()
    worker = start_worker()
    assert result.get(timeout=60) == 3


def kombu_prefetch_and_priorities():
    with Connection(URL) as connection:
        channel = connection.channel()
        queue = Queue("kombu-suite", Exchange("kombu-suite", "direct"), "k", max_priority=9, auto_delete=True)
        queue(channel).declare()
        producer = Producer(channel, exchange=queue.exchange, routing_key="k")
        for priority in (0, 9, 4):
            producer.publish({"p": priority}, priority=priority, serializer="json", retry=True)
        got = []
        time.sleep(0.3)
        channel.basic_qos(0, 1, False)
        with Consumer(channel, [queue], callbacks=[lambda body, message: (got.append(body["p"]), message.ack())]):
            while len(got) < 3:
                connection.drain_events(timeout=5)
        assert got == [9, 4, 0], got


def kombu_confirms_and_errors():
    with Connection(URL, transport_options={"confirm_publish": True}) as connection:
        channel = connection.channel()
        queue = Queue("kombu-confirms", auto_delete=True)(channel)
        queue.declare()
        Producer(channel, routing_key="kombu-confirms").publish("x", retry=False)
        assert queue.get(no_ack=True).payload == "x"
        try:
            Queue("kombu-confirms", auto_delete=False)(channel).declare()
        except connection.channel_errors as error:
            assert error.reply_code == 406, error
            return
        raise AssertionError("not refused")


def kombu_heartbeats():
    with Connection(URL, heartbeat=2) as connection:
        connection.connect()
        for _ in range(6):
            time.sleep(0.5)
            connection.heartbeat_check()
        assert connection.connected


def start_worker():
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "suite", "worker", "-P", "prefork", "--without-gossip", "--without-mingle", "-l", "ERROR", "-n", "suite@%h"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    deadline = time.time() + 60
    while not app.control.ping(timeout=1):
        assert time.time() < deadline, "the worker does not start"
    return process


if __name__ == "__main__":
    with open("suite.py", "w") as module:  # the worker imports the tasks under a name that is none of a package
        module.write(open(__file__).read())
    with Connection(URL) as clean:
        for name in (NAME, "kombu-suite", "kombu-confirms"):
            clean.channel().queue_delete(name)
    worker = start_worker()
    for check in (results, groups, chains, retries, due_later, revoked, late_acknowledgement, kombu_prefetch_and_priorities, kombu_confirms_and_errors, kombu_heartbeats):
        try:
            check()
            print("PASS", check.__name__, flush=True)
        except Exception as error:  # every scenario is to be told
            print("FAIL", check.__name__, repr(error).replace("\n", " "), flush=True)
    worker.terminate()
    try:
        worker.wait(20)
    except subprocess.TimeoutExpired:
        worker.kill()
