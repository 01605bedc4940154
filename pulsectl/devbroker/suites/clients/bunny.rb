#!/usr/bin/env ruby
# Scenarios with Bunny: what its users write, and how it takes what the broker says.
require 'bunny'
require 'timeout'

URL = ENV.fetch('AMQP_URL').chomp('/') # a path of "/" is the virtual host "" to Bunny
SCENARIOS = {}

def scenario(name, &block) = SCENARIOS[name] = block

def connect(**options)
  connection = Bunny.new(URL, { automatically_recover: false, logger: Logger.new(File::NULL) }.merge(options))
  connection.start
  connection
end

def assert(condition, seen = nil) = condition || raise("not so: #{seen.inspect}")

def refused(error, text)
  yield
rescue error => e
  assert e.message.include?(text), e.message
else
  raise 'not refused'
end

def eventually
  100.times { (value = yield) ? (return value) : sleep(0.05) }
  raise 'never'
end

scenario 'publish and get' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  q.publish('hello', persistent: true, headers: { 'n' => 1, 't' => { 'u' => [1, 'v'] }, 'at' => Time.at(1_700_000_000) }, priority: 3, type: 'kind')
  info, properties, body = eventually { m = q.pop; m.first && m }
  assert body == 'hello' && properties[:headers]['t'] == { 'u' => [1, 'v'] } && properties[:type] == 'kind' && !info.redelivered?, properties
end

scenario 'confirms' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  ch.confirm_select
  500.times { q.publish('x') }
  assert ch.wait_for_confirms && ch.unconfirmed_set.empty? && ch.nacked_set.empty?
end

scenario 'nacks of a full queue' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true, arguments: { 'x-max-length' => 1, 'x-overflow' => 'reject-publish' })
  ch.confirm_select
  3.times { q.publish('x') }
  assert !ch.wait_for_confirms && ch.nacked_set.size == 2, ch.nacked_set
end

scenario 'returns' do
  ch = connect.create_channel
  returned = []
  x = ch.default_exchange
  x.on_return { |info, _, body| returned << [info.reply_code, info.reply_text, body] }
  x.publish('x', routing_key: 'nowhere', mandatory: true)
  eventually { !returned.empty? }
  assert returned == [[312, 'NO_ROUTE', 'x']], returned
end

scenario 'manual acknowledgements and prefetch' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  ch.prefetch(2)
  got = []
  q.subscribe(manual_ack: true) { |info, _, body| got << [info.delivery_tag, body] }
  5.times { |i| q.publish(i.to_s) }
  eventually { got.size == 2 }
  sleep 0.2
  assert got.size == 2, got
  ch.nack(got[0][0], false, true)
  ch.ack(got[1][0])
  eventually { got.size >= 4 }
  assert got[2][1] == '0', got
end

scenario 'consumer priorities' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  got = []
  q.subscribe(arguments: { 'x-priority' => 1 }) { got << :low }
  q.subscribe(arguments: { 'x-priority' => 9 }) { got << :high }
  5.times { q.publish('x') }
  eventually { got.size == 5 }
  assert got.uniq == [:high], got
end

scenario 'cancelled by the broker' do
  ch, other = connect.create_channel, connect.create_channel
  q = ch.queue("bunny-cancelled-#{Process.pid}", auto_delete: true)
  cancelled = []
  consumer = Bunny::Consumer.new(ch, q)
  consumer.on_cancellation { cancelled << true }
  q.subscribe_with(consumer)
  other.queue_delete(q.name)
  eventually { !cancelled.empty? }
end

scenario 'exclusive consumer' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  q.subscribe(exclusive: true) {}
  refused(Bunny::AccessRefused, 'in exclusive use') { q.subscribe(exclusive: true) {} }
end

scenario 'topics, headers, alternate exchanges' do
  ch = connect.create_channel
  q, rest = ch.queue('', exclusive: true), ch.queue('', exclusive: true)
  alternate = ch.fanout('bunny.alternate', auto_delete: true)
  rest.bind(alternate)
  topic = ch.topic('bunny.topic', auto_delete: true, arguments: { 'alternate-exchange' => alternate.name })
  q.bind(topic, routing_key: 'a.#')
  topic.publish('1', routing_key: 'a.b.c')
  topic.publish('2', routing_key: 'b')
  headers = ch.headers('bunny.headers', auto_delete: true)
  q.bind(headers, arguments: { 'x-match' => 'all', 'kind' => 'order', 'n' => 3 })
  headers.publish('3', headers: { 'kind' => 'order', 'n' => 3 })
  headers.publish('4', headers: { 'kind' => 'order' })
  eventually { q.message_count == 2 && rest.message_count == 1 }
end

scenario 'dead letters' do
  ch = connect.create_channel
  dead = ch.queue('', exclusive: true)
  q = ch.queue('', exclusive: true, arguments: { 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => dead.name })
  q.subscribe(manual_ack: true) { |info, _, _| ch.reject(info.delivery_tag) }
  q.publish('x')
  _, properties, = eventually { m = dead.pop; m.first && m }
  death = properties[:headers]['x-death'].first
  assert death['reason'] == 'rejected' && death['queue'] == q.name && death['count'] == 1, death
end

scenario 'transactions' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  ch.tx_select
  q.publish('dropped')
  ch.tx_rollback
  q.publish('kept')
  assert q.message_count.zero?
  ch.tx_commit
  assert q.pop.last == 'kept'
end

scenario 'priorities' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true, arguments: { 'x-max-priority' => 5 })
  [1, 5, 3].each { |p| q.publish(p.to_s, priority: p) }
  eventually { q.message_count == 3 }
  assert (order = Array.new(3) { q.pop.last }) == %w[5 3 1], order
end

scenario 'direct reply-to' do
  ch, server = connect.create_channel, connect.create_channel
  q = server.queue('', exclusive: true)
  q.subscribe { |_, p, body| server.default_exchange.publish(body.upcase, routing_key: p.reply_to, correlation_id: p.correlation_id) }
  got = []
  replies = ch.queue('amq.rabbitmq.reply-to', no_declare: true)
  replies.subscribe { |_, p, body| got << [p.correlation_id, body] }
  ch.default_exchange.publish('hello', routing_key: q.name, reply_to: 'amq.rabbitmq.reply-to', correlation_id: '7')
  eventually { !got.empty? }
  assert got == [%w[7 HELLO]], got
end

scenario 'quorum queue and delivery limit' do
  ch = connect.create_channel
  dead = ch.queue('', exclusive: true)
  q = ch.queue("bunny-quorum-#{Process.pid}", durable: true, arguments: { 'x-queue-type' => 'quorum', 'x-delivery-limit' => 2, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => dead.name })
  q.subscribe(manual_ack: true) { |info, _, _| ch.nack(info.delivery_tag, false, true) }
  q.publish('x')
  _, properties, = eventually { m = dead.pop; m.first && m }
  assert properties[:headers]['x-first-death-reason'] == 'delivery_limit', properties
  q.delete
end

scenario 'missing queue' do
  connection = connect
  refused(Bunny::NotFound, "no queue 'bunny-nope' in vhost '/'") { connection.create_channel.queue_declare('bunny-nope', passive: true) }
  assert connection.open?
end

scenario 'other arguments' do
  ch = connect.create_channel
  name = ch.queue("bunny-other-#{Process.pid}", exclusive: true).name
  refused(Bunny::PreconditionFailed, "inequivalent arg 'x-max-length'") { ch.queue_declare(name, exclusive: true, arguments: { 'x-max-length' => 1 }) }
end

scenario 'somebody else\'s queue' do
  name = connect.create_channel.queue('', exclusive: true).name
  refused(Bunny::ResourceLocked, 'cannot obtain exclusive access to locked queue') { connect.create_channel.queue_declare(name, passive: true) }
end

scenario 'double acknowledgement' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  q.publish('x')
  errors = []
  ch.on_error { |_, close| errors << close.reply_text }
  info, = eventually { m = q.pop(manual_ack: true); m.first && m }
  ch.ack(info.delivery_tag)
  ch.ack(info.delivery_tag)
  eventually { !errors.empty? }
  assert errors == ['PRECONDITION_FAILED - unknown delivery tag 1'], errors
end

scenario 'wrong password' do
  refused(Bunny::AuthenticationFailureError, 'Authentication with RabbitMQ failed') { connect(pass: 'wrong', user: 'guest') }
end

scenario 'unknown virtual host' do
  refused(Bunny::NotAllowedError, 'vhost nope not found') { connect(vhost: 'nope') }
end

scenario 'server properties' do
  properties = connect.server_properties
  assert properties['product'] == 'RabbitMQ' && properties['capabilities']['basic.nack'], properties
end

scenario 'heartbeats' do
  connection = connect(heartbeat: 1)
  sleep 4
  connection.create_channel.close
  connection.close
end

scenario 'many channels, orderly close' do
  10.times do
    connection = connect
    Array.new(20) { connection.create_channel }.each(&:close)
    connection.close
    assert connection.closed?
  end
end

scenario 'large bodies' do
  ch = connect.create_channel
  q = ch.queue('', exclusive: true)
  body = 'x' * (4 << 20)
  q.publish(body)
  assert eventually { m = q.pop; m.first && m }.last == body
end

SCENARIOS.each do |name, block|
  Timeout.timeout(30, &block)
  puts "PASS #{name}"
rescue Exception => e # every scenario is to be told
  puts "FAIL #{name}: #{e.class}: #{e.message.tr("\n", ' ')}"
ensure
  $stdout.flush
end
exit!(true)
