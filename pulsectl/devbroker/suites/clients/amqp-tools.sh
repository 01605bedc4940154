#!/usr/bin/env bash
# Scenarios with amqp-tools, the command-line programs of librabbitmq.
set -uo pipefail
url=${AMQP_URL%/}
queue=amqp-tools-$$

check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then echo "PASS $name"; else echo "FAIL $name: ${out//$'\n'/ }"; fi
}

is() { [[ $1 == "$2" ]] || { echo "got '$1', want '$2'"; return 1; }; }

declare_queue() { is "$(amqp-declare-queue -u "$url" -d -q "$queue")" "$queue"; }
publish_and_get() { amqp-publish -u "$url" -r "$queue" -p -b hello && is "$(amqp-get -u "$url" -q "$queue")" hello; }
get_empty() { ! amqp-get -u "$url" -q "$queue"; }
from_stdin() { head -c 300000 /dev/zero | tr '\0' x | amqp-publish -u "$url" -r "$queue" && is "$(amqp-get -u "$url" -q "$queue" | wc -c)" 300000; }
line_by_line() { printf '%s\n' one two three | amqp-publish -u "$url" -r "$queue" -l && is "$(amqp-consume -u "$url" -q "$queue" -c 3 cat | tr -d '\n')" onetwothree; }
prefetch() {
	for i in 1 2 3 4 5 6; do amqp-publish -u "$url" -r "$queue" -b "$i;" || return; done
	is "$(amqp-consume -u "$url" -q "$queue" -p 2 -c 6 cat)" '1;2;3;4;5;6;'
}
# A consumer that fails leaves its message to the next one.
failing_consumer() {
	amqp-publish -u "$url" -r "$queue" -b again || return
	timeout 5 amqp-consume -u "$url" -q "$queue" -c 1 false
	is "$(timeout 5 amqp-consume -u "$url" -q "$queue" -c 1 cat)" again
}
headers() { amqp-publish -u "$url" -r "$queue" -C text/plain -E utf-8 -H 'kind: order' -t answers -b x && is "$(amqp-get -u "$url" -q "$queue")" x; }
# A private queue, bound to an exchange, as long as the consumer lives.
subscription() {
	local out
	out=$(mktemp)
	timeout 10 amqp-consume -u "$url" -e amq.topic -r 'orders.#' -c 1 cat >"$out" &
	for _ in $(seq 50); do
		amqp-publish -u "$url" -e amq.topic -r orders.created -b event
		kill -0 $! 2>/dev/null || break
		sleep 0.1
	done
	wait $!
	is "$(cat "$out")" event && rm "$out"
}
missing_queue() { local said; said=$(amqp-get -u "$url" -q "$queue-nope" 2>&1); [[ $said == *"404"* && $said == *"no queue '$queue-nope' in vhost '/'"* ]] || { echo "$said"; return 1; }; }
missing_exchange() { local said; said=$(amqp-publish -u "$url" -e "$queue-nope" -r x -b x 2>&1); [[ $said == *"404"* ]] || [[ -z $said ]] || { echo "$said"; return 1; }; }
wrong_password() { local said; said=$(amqp-get -u "${url/guest:guest/guest:wrong}" -q "$queue" 2>&1); [[ $said == *ACCESS_REFUSED* || $said == *403* ]] || { echo "$said"; return 1; }; }
delete_queue() { is "$(amqp-delete-queue -u "$url" -q "$queue")" 0; }

for name in declare_queue publish_and_get get_empty from_stdin line_by_line prefetch failing_consumer headers subscription missing_queue missing_exchange \
	wrong_password delete_queue; do
	check "$name" "$name"
done
