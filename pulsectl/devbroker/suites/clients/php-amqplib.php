#!/usr/bin/env php
<?php
// Scenarios with php-amqplib, as Debian packages it.
require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

$url = parse_url(getenv('AMQP_URL'));
function connect(string $vhost = '/', string $password = 'guest', int $heartbeat = 0): AMQPStreamConnection
{
    global $url;
    return new AMQPStreamConnection($url['host'], $url['port'], 'guest', $password, $vhost, false, 'AMQPLAIN', null, 'en_US', 10, 10, null, false, $heartbeat);
}

function check($condition, $seen = null): void
{
    if (!$condition) {
        throw new RuntimeException('not so: ' . var_export($seen, true));
    }
}

function queue($channel, array $arguments = []): string
{
    return $channel->queue_declare('', false, false, true, false, false, new AMQPTable($arguments))[0];
}

$scenarios = [
    'publish and get' => function () {
        $channel = connect()->channel();
        $name = queue($channel);
        $message = new AMQPMessage('hello', ['delivery_mode' => 2, 'message_id' => 'm', 'application_headers' => new AMQPTable(['n' => 1, 't' => ['u' => [1, 'v']]])]);
        $channel->basic_publish($message, '', $name);
        $got = $channel->basic_get($name, true);
        check($got->body === 'hello' && $got->get('application_headers')->getNativeData() === ['n' => 1, 't' => ['u' => [1, 'v']]], $got);
    },
    'confirms' => function () {
        $channel = connect()->channel();
        $name = queue($channel);
        $acked = 0;
        $channel->set_ack_handler(function () use (&$acked) { $acked++; });
        $channel->confirm_select();
        for ($i = 0; $i < 200; $i++) {
            $channel->basic_publish(new AMQPMessage('x', ['delivery_mode' => 2]), '', $name);
        }
        $channel->wait_for_pending_acks(10);
        check($acked === 200, $acked);
    },
    'batch' => function () {
        $channel = connect()->channel();
        $name = queue($channel);
        for ($i = 0; $i < 50; $i++) {
            $channel->batch_basic_publish(new AMQPMessage("$i"), '', $name);
        }
        $channel->publish_batch();
        for ($i = 0; $i < 50; $i++) {
            while (!($got = $channel->basic_get($name, true))) {
                usleep(1000);
            }
            check($got->body === "$i", $got->body);
        }
    },
    'returns' => function () {
        $channel = connect()->channel();
        $returned = [];
        $channel->set_return_listener(function ($code, $text) use (&$returned) { $returned[] = "$code $text"; });
        $channel->basic_publish(new AMQPMessage('x'), '', 'nowhere', true);
        $channel->wait(null, false, 5);
        check($returned === ['312 NO_ROUTE'], $returned);
    },
    'consume with prefetch' => function () {
        $channel = connect()->channel();
        $name = queue($channel);
        for ($i = 0; $i < 10; $i++) {
            $channel->basic_publish(new AMQPMessage("$i"), '', $name);
        }
        $channel->basic_qos(0, 3, false);
        $got = [];
        $channel->basic_consume($name, '', false, false, false, false, function ($m) use (&$got) { $got[] = $m->body; $m->ack(); });
        while (count($got) < 10) {
            $channel->wait(null, false, 5);
        }
        check($got === array_map('strval', range(0, 9)), $got);
    },
    'transactions' => function () {
        $channel = connect()->channel();
        $name = queue($channel);
        $channel->tx_select();
        $channel->basic_publish(new AMQPMessage('dropped'), '', $name);
        $channel->tx_rollback();
        $channel->basic_publish(new AMQPMessage('kept'), '', $name);
        check($channel->basic_get($name, true) === null);
        $channel->tx_commit();
        check($channel->basic_get($name, true)->body === 'kept');
    },
    'priorities' => function () {
        $channel = connect()->channel();
        $name = queue($channel, ['x-max-priority' => 9]);
        $channel->confirm_select();
        foreach ([1, 9, 5] as $priority) {
            $channel->basic_publish(new AMQPMessage("$priority", ['priority' => $priority]), '', $name);
        }
        $channel->wait_for_pending_acks(10);
        check(array_map(fn () => $channel->basic_get($name, true)->body, range(1, 3)) === ['9', '5', '1']);
    },
    'direct reply-to' => function () {
        $client = connect()->channel();
        $server = connect()->channel();
        $name = queue($server);
        $server->basic_consume($name, '', false, true, false, false, function ($m) use ($server) {
            $server->basic_publish(new AMQPMessage(strtoupper($m->body), ['correlation_id' => $m->get('correlation_id')]), '', $m->get('reply_to'));
        });
        $got = [];
        $client->basic_consume('amq.rabbitmq.reply-to', '', false, true, false, false, function ($m) use (&$got) { $got[] = $m->get('correlation_id') . $m->body; });
        $client->basic_publish(new AMQPMessage('hello', ['reply_to' => 'amq.rabbitmq.reply-to', 'correlation_id' => '7']), '', $name);
        $server->wait(null, false, 5);
        $client->wait(null, false, 5);
        check($got === ['7HELLO'], $got);
    },
    'missing queue' => function () {
        $connection = connect();
        try {
            $connection->channel()->queue_declare('php-nope', true);
        } catch (AMQPProtocolChannelException $e) {
            check($e->getCode() === 404 && str_contains($e->getMessage(), "no queue 'php-nope' in vhost '/'"), $e->getMessage());
            check($connection->isConnected());
            return;
        }
        check(false);
    },
    'unknown virtual host' => function () {
        try {
            connect('nope');
        } catch (Exception $e) {
            check(str_contains($e->getMessage(), 'vhost nope not found'), $e->getMessage());
            return;
        }
        check(false);
    },
    'wrong password' => function () {
        try {
            connect('/', 'wrong');
        } catch (Exception $e) {
            check(str_contains($e->getMessage(), 'ACCESS_REFUSED'), $e->getMessage());
            return;
        }
        check(false);
    },
    'heartbeats' => function () {
        $connection = connect('/', 'guest', 2);
        $channel = $connection->channel();
        try {
            $channel->wait(null, false, 5);
        } catch (PhpAmqpLib\Exception\AMQPTimeoutException $e) {
        }
        check($connection->isConnected());
        queue($channel);
        $connection->close();
    },
    'large bodies' => function () {
        $channel = connect()->channel();
        $name = queue($channel);
        $channel->basic_publish(new AMQPMessage(str_repeat('x', 2 << 20)), '', $name);
        while (!($got = $channel->basic_get($name, true))) {
            usleep(1000);
        }
        check(strlen($got->body) === 2 << 20);
    },
    'orderly close' => function () {
        for ($i = 0; $i < 10; $i++) {
            $connection = connect();
            $connection->channel()->close();
            $connection->close();
        }
    },
];
foreach ($scenarios as $name => $scenario) {
    try {
        $scenario();
        echo "PASS $name\n";
    } catch (Throwable $e) {
        echo "FAIL $name: ", get_class($e), ': ', strtr($e->getMessage(), "\n", ' '), "\n";
    }
}
