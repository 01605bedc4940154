#!/usr/bin/python3 -P
"""Scenarios with pika: blocking and select connections, and what they make of what the broker says."""
import functools
import os
import threading
import time

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker, NackError, UnroutableError

URL = os.environ["AMQP_URL"]
scenarios = []


def scenario(function):
    scenarios.append(function)
    return function


def connect(**changes):
    parameters = pika.URLParameters(URL)
    for key, value in changes.items():
        setattr(parameters, key, value)
    return pika.BlockingConnection(parameters)


def refused(code, text, action):
    try:
        action()
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as closed:
        assert closed.reply_code == code and text in closed.reply_text, closed
        return
    raise AssertionError("not refused")


def queue(channel, **arguments):
    return channel.queue_declare("", exclusive=True, **arguments).method.queue


@scenario
def publish_and_get():
    channel = connect().channel()
    name = queue(channel)
    channel.confirm_delivery()
    channel.basic_publish("", name, b"hello", pika.BasicProperties(delivery_mode=2, headers={"n": 1, "t": {"u": [1, "v", None]}}))
    method, properties, body = channel.basic_get(name)
    assert body == b"hello" and properties.headers == {"n": 1, "t": {"u": [1, "v", None]}} and not method.redelivered
    channel.basic_nack(method.delivery_tag)
    method, _, _ = channel.basic_get(name, auto_ack=True)
    assert method.redelivered and method.message_count == 0


@scenario
def large_bodies():
    channel = connect().channel()
    name = queue(channel)
    channel.confirm_delivery()
    for size in (0, 1, 131064, 131065, 5 << 20):
        body = os.urandom(1) * size
        channel.basic_publish("", name, body)
        assert channel.basic_get(name, auto_ack=True)[2] == body, size


@scenario
def unroutable():
    channel = connect().channel()
    channel.confirm_delivery()
    channel.basic_publish("", "nowhere", b"dropped")
    try:
        channel.basic_publish("", "nowhere", b"returned", mandatory=True)
    except UnroutableError as error:
        assert error.messages[0].body == b"returned" and error.messages[0].method.reply_code == 312
    else:
        raise AssertionError("not returned")


@scenario
def full_queue_nacks():
    channel = connect().channel()
    name = queue(channel, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    channel.basic_publish("", name, b"1")
    try:
        channel.basic_publish("", name, b"2")
    except NackError:
        return
    raise AssertionError("not nacked")


@scenario
def consume_with_prefetch():
    channel = connect().channel()
    name = queue(channel)
    for n in range(10):
        channel.basic_publish("", name, b"%d" % n)
    channel.basic_qos(prefetch_count=3)
    got = []
    for method, _, body in channel.consume(name, inactivity_timeout=1):
        if method is None:
            break
        got.append((method.delivery_tag, body))
        if len(got) % 3 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
    assert [body for _, body in got] == [b"%d" % n for n in range(10)], got
    assert channel.cancel() == 0  # requeued messages that were received and not consumed


@scenario
def cancelled_by_the_broker():
    connection = connect()
    channel, other = connection.channel(), connect().channel()
    name = "pika-cancelled-%d" % os.getpid()
    other.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(name, lambda *_: None)
    other.queue_delete(name)
    for _ in range(50):
        connection.process_data_events(0.1)
        if cancelled:
            break
    assert cancelled == [tag], cancelled


@scenario
def topology():
    channel = connect().channel()
    name = queue(channel)
    exchange, other = "pika-x-%d" % os.getpid(), "pika-y-%d" % os.getpid()
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    channel.exchange_declare(other, "fanout", auto_delete=True, arguments={"alternate-exchange": exchange})
    channel.queue_bind(name, exchange, "a.*.c")
    channel.exchange_bind(exchange, other, "k")
    channel.basic_publish(other, "a.b.c", b"x")
    assert channel.basic_get(name, auto_ack=True)[2] == b"x"
    channel.exchange_unbind(exchange, other, "k")
    channel.queue_unbind(name, exchange, "a.*.c")


@scenario
def refusals():
    connection = connect()
    refused(404, "no queue 'nope' in vhost '/'", lambda: connection.channel().queue_declare("nope", passive=True))
    refused(404, "no exchange 'nope' in vhost '/'", lambda: connection.channel().queue_bind(queue(connection.channel()), "nope", "k"))
    refused(403, "contains reserved prefix 'amq.*'", lambda: connection.channel().queue_declare("amq.nope"))
    refused(406, "reply consumer cannot acknowledge", lambda: connection.channel().basic_consume("amq.rabbitmq.reply-to", print))
    channel = connection.channel()
    name = "pika-refusals-%d" % os.getpid()
    channel.queue_declare(name, exclusive=True)
    refused(406, "inequivalent arg 'auto_delete'", lambda: channel.queue_declare(name, exclusive=True, auto_delete=True))
    refused(405, "cannot obtain exclusive access", lambda: connect().channel().queue_declare(name, passive=True))
    assert connection.is_open


@scenario
def hard_errors():
    connection = connect()
    refused(503, "unknown exchange type 'x-delayed-message'", lambda: connection.channel().exchange_declare("x", "x-delayed-message"))
    assert connection.is_closed


@scenario
def direct_reply_to():
    client, server = connect(), connect()
    channel, service = client.channel(), server.channel()
    name = queue(service)
    service.basic_consume(name, lambda ch, m, p, b: ch.basic_publish("", p.reply_to, b.upper(), pika.BasicProperties(correlation_id=p.correlation_id)), auto_ack=True)
    got = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda ch, m, p, b: got.append((p.correlation_id, b)), auto_ack=True)
    channel.basic_publish("", name, b"hello", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7"))
    for _ in range(50):
        server.process_data_events(0.05)
        client.process_data_events(0.05)
        if got:
            break
    assert got == [("7", b"HELLO")], got


@scenario
def transactions():
    channel = connect().channel()
    name = queue(channel)
    channel.tx_select()
    channel.basic_publish("", name, b"dropped")
    channel.tx_rollback()
    channel.basic_publish("", name, b"kept")
    assert channel.basic_get(name, auto_ack=True) == (None, None, None)
    channel.tx_commit()
    assert channel.basic_get(name, auto_ack=True)[2] == b"kept"


@scenario
def priorities():
    channel = connect().channel()
    name = queue(channel, arguments={"x-max-priority": 9})
    channel.confirm_delivery()
    for priority in (1, 9, 5):
        channel.basic_publish("", name, b"%d" % priority, pika.BasicProperties(priority=priority))
    assert [channel.basic_get(name, auto_ack=True)[2] for _ in range(3)] == [b"9", b"5", b"1"]


@scenario
def dead_letters():
    channel = connect().channel()
    dead = queue(channel)
    name = queue(channel, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": 20})
    channel.basic_publish("", name, b"x")
    for _ in range(100):
        method, properties, _ = channel.basic_get(dead, auto_ack=True)
        if method:
            break
        time.sleep(0.02)
    death = properties.headers["x-death"][0]
    assert (death["reason"], death["queue"], death["count"]) == ("expired", name, 1), death
    assert properties.headers["x-first-death-reason"] == "expired"


@scenario
def wrong_password():
    try:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    except AMQPConnectionError as error:
        assert "ACCESS_REFUSED" in repr(error) or "ProbableAuthenticationError" in repr(error), repr(error)
        return
    raise AssertionError("let in")


@scenario
def unknown_virtual_host():
    try:
        connect(virtual_host="nope")
    except AMQPConnectionError as error:
        assert "vhost nope not found" in repr(error), repr(error)
        return
    raise AssertionError("let in")


@scenario
def server_properties():
    properties = connect()._impl.server_properties
    assert properties["product"] == "RabbitMQ" and properties["version"].startswith("3.10."), properties
    assert properties["capabilities"]["direct_reply_to"], properties


@scenario
def heartbeats():
    connection = connect(heartbeat=1)
    connection.sleep(4)
    connection.channel().close()
    connection.close()


@scenario
def localhost():
    connect(host="localhost").close()


@scenario
def other_threads():
    connection = connect()
    channel = connection.channel()
    name = queue(channel)
    done = threading.Event()
    threading.Thread(target=lambda: connection.add_callback_threadsafe(functools.partial(channel.basic_publish, "", name, b"x"))).start()
    channel.basic_consume(name, lambda ch, m, p, b: done.set(), auto_ack=True)
    for _ in range(50):
        connection.process_data_events(0.1)
        if done.is_set():
            return
    raise AssertionError("not delivered")


@scenario
def asynchronous():
    events = []

    def opened(connection):
        connection.channel(on_open_callback=channel_opened)

    def channel_opened(channel):
        channel.confirm_delivery(lambda frame: events.append(type(frame.method).__name__))
        channel.add_on_return_callback(lambda ch, m, p, b: events.append("Return"))
        channel.queue_declare("", exclusive=True, callback=functools.partial(declared, channel))

    def declared(channel, frame):
        for _ in range(20):
            channel.basic_publish("", frame.method.queue, b"x")
        channel.basic_publish("", "nowhere", b"x", mandatory=True)
        channel.basic_consume(frame.method.queue, functools.partial(delivered, channel), auto_ack=True)

    count = []

    def delivered(channel, *_):
        count.append(1)
        if len(count) == 20:
            channel.connection.ioloop.call_later(0.3, channel.connection.close)

    connection = pika.SelectConnection(pika.URLParameters(URL), on_open_callback=opened, on_close_callback=lambda c, _: c.ioloop.stop())
    connection.ioloop.call_later(20, connection.ioloop.stop)
    connection.ioloop.start()
    assert len(count) == 20 and "Ack" in events and "Return" in events, (count, events)


for check in scenarios:
    try:
        check()
        print("PASS", check.__name__, flush=True)
    except Exception as error:  # every scenario is to be told
        print("FAIL", check.__name__, repr(error).replace("\n", " "), flush=True)
