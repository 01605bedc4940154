#!/usr/bin/python3 -P
"""What the seven AMQP tutorials teach, each with processes of its own, as a newcomer would run them."""
import os
import re
import subprocess
import sys
import time

import pika

URL = os.environ["AMQP_URL"]


def channel():
    return pika.BlockingConnection(pika.URLParameters(URL)).channel()


def run(name, *args):
    return subprocess.Popen([sys.executable, "-P", __file__, name, *args], stdout=subprocess.PIPE, text=True)


def lines(process, n):
    got = [process.stdout.readline().strip() for _ in range(n)]
    process.kill()
    process.wait()
    return got


def say(*what):
    print(*what, flush=True)


# The programs.


def receive(queue="hello", durable=False, ack=False):
    ch = channel()
    ch.queue_declare(queue, durable=durable)
    if ack:
        ch.basic_qos(prefetch_count=1)

    def got(ch, method, properties, body):
        say(body.decode())
        if ack:
            time.sleep(body.count(b".") / 10)
            ch.basic_ack(method.delivery_tag)

    ch.basic_consume(queue, got, auto_ack=not ack)
    say("ready")
    ch.start_consuming()


def subscribe(exchange, kind, *keys):
    ch = channel()
    ch.exchange_declare(exchange, kind)
    queue = ch.queue_declare("", exclusive=True).method.queue
    for key in keys or [""]:
        ch.queue_bind(queue, exchange, key)
    ch.basic_consume(queue, lambda ch, m, p, body: say(m.routing_key, body.decode()), auto_ack=True)
    say("ready")
    ch.start_consuming()


def serve():
    ch = channel()
    ch.queue_declare("rpc_queue")
    fib = lambda n: n if n < 2 else fib(n - 1) + fib(n - 2)

    def request(ch, method, properties, body):
        ch.basic_publish("", properties.reply_to, str(fib(int(body))), pika.BasicProperties(correlation_id=properties.correlation_id))
        ch.basic_ack(method.delivery_tag)

    ch.basic_qos(prefetch_count=1)
    ch.basic_consume("rpc_queue", request)
    say("ready")
    ch.start_consuming()


# What is to be seen.


def hello_world():
    receiver = run("receive")
    receiver.stdout.readline()
    ch = channel()
    ch.basic_publish("", "hello", b"Hello World!")
    assert lines(receiver, 1) == ["Hello World!"]
    ch.queue_delete("hello")


def work_queues():
    ch = channel()
    ch.queue_declare("task_queue", durable=True)
    workers = [run("work"), run("work")]
    for worker in workers:
        worker.stdout.readline()
    for n in range(6):
        ch.basic_publish("", "task_queue", b"%d." % n, pika.BasicProperties(delivery_mode=2))
    first, second = ([worker.stdout.readline().strip() for _ in range(3)] for worker in workers)
    for worker in workers:
        lines(worker, 0)
    assert sorted(first + second) == ["%d." % n for n in range(6)], (first, second)
    ch.queue_delete("task_queue")


def publish_subscribe():
    subscribers = [run("subscribe", "logs", "fanout"), run("subscribe", "logs", "fanout")]
    for subscriber in subscribers:
        subscriber.stdout.readline()
    ch = channel()
    ch.basic_publish("logs", "", b"info: Hello World!")
    assert [lines(subscriber, 1) for subscriber in subscribers] == [["info: Hello World!"]] * 2
    ch.exchange_delete("logs")


def routing():
    errors, everything = run("subscribe", "direct_logs", "direct", "error"), run("subscribe", "direct_logs", "direct", "info", "error")
    errors.stdout.readline(), everything.stdout.readline()
    ch = channel()
    ch.basic_publish("direct_logs", "info", b"1")
    ch.basic_publish("direct_logs", "error", b"2")
    assert (lines(errors, 1), lines(everything, 2)) == (["error 2"], ["info 1", "error 2"])
    ch.exchange_delete("direct_logs")


def topics():
    kernel, critical = run("subscribe", "topic_logs", "topic", "kern.*"), run("subscribe", "topic_logs", "topic", "*.critical")
    kernel.stdout.readline(), critical.stdout.readline()
    ch = channel()
    for key in ("kern.critical", "cron.critical", "kern.info", "cron.info"):
        ch.basic_publish("topic_logs", key, b"x")
    assert (lines(kernel, 2), lines(critical, 2)) == (["kern.critical x", "kern.info x"], ["kern.critical x", "cron.critical x"])
    ch.exchange_delete("topic_logs")


def request_reply(reply_to=None):
    server = run("serve")
    server.stdout.readline()
    ch = channel()
    queue = reply_to or ch.queue_declare("", exclusive=True).method.queue
    got = []
    ch.basic_consume(queue, lambda ch, m, p, body: got.append((p.correlation_id, body)), auto_ack=True)
    ch.basic_publish("", "rpc_queue", b"15", pika.BasicProperties(reply_to=queue, correlation_id="c"))
    for _ in range(100):
        ch.connection.process_data_events(0.05)
        if got:
            break
    server.kill()
    server.wait()
    assert got == [("c", b"610")], got
    ch.queue_delete("rpc_queue")


def direct_request_reply():
    request_reply("amq.rabbitmq.reply-to")


def publisher_confirms():
    ch = channel()
    queue = ch.queue_declare("", exclusive=True).method.queue
    ch.confirm_delivery()
    for n in range(100):
        ch.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))
    assert ch.queue_declare(queue, passive=True).method.message_count == 100


if __name__ == "__main__":
    if len(sys.argv) > 1:
        programs = {"receive": receive, "work": lambda: receive("task_queue", True, True), "subscribe": subscribe, "serve": serve}
        programs[sys.argv[1]](*sys.argv[2:])
        sys.exit()
    for check in (hello_world, work_queues, publish_subscribe, routing, topics, request_reply, direct_request_reply, publisher_confirms):
        try:
            check()
            print("PASS", check.__name__, flush=True)
        except Exception as error:  # every scenario is to be told
            print("FAIL", check.__name__, re.sub(r"\s+", " ", repr(error)), flush=True)
