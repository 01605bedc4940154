package command

// examples are shown in the help of a command and in the manual. The keys are
// commands as they are typed.
var examples = map[string][]string{
	"demo":   {"pulsectl demo", "pulsectl demo --orders 500 -o json"},
	"up":     {"pulsectl up", "pulsectl up --detach --orders-addr 127.0.0.1:7101", "pulsectl up --stack compose --profile gin", "pulsectl up --stack external --stop-cmd 'systemctl stop rabbitmq-server'"},
	"down":   {"pulsectl down", "pulsectl down --volumes --yes", "pulsectl down --stack compose"},
	"status": {"pulsectl status", "pulsectl status -o json", "pulsectl status --watch"},
	"doctor": {"pulsectl doctor", "pulsectl doctor --management-url http://127.0.0.1:15672", "pulsectl doctor --ignore outbox.pooler --ignore inbox.pooler", "pulsectl doctor -o json"},
	"ui":     {"pulsectl ui", "pulsectl ui --allow-writes --show-payloads", "pulsectl ui --addr 0.0.0.0:6100 --token-file /run/secrets/pulse-ui --allow-host pulse.example.com"},
	"top":    {"pulsectl top", "pulsectl top --interval 5s", "pulsectl top -o json"},

	"order create": {"pulsectl order create --customer customer-123 --amount 77.5", "pulsectl order create --customer customer-123 --amount 77.5 --wait handled -q"},
	"order get":    {"pulsectl order get 01a2077e-aa18-74f6-bc5d-9af2b23e0269"},
	"order ls":     {"pulsectl order ls --limit 10"},

	"token new":  {"pulsectl token new shop --append-to tokens > shop.token", "pulsectl token new app-17 --scopes orders:read --customer customer-17 --expires 720h"},
	"token show": {"pulsectl token show"},

	"notification ls": {"pulsectl notification ls --order 01a2077e-aa18-74f6-bc5d-9af2b23e0269"},

	"contract ls":       {"pulsectl contract ls", "pulsectl contract ls --dir examples/contracts -o json"},
	"contract validate": {"pulsectl contract validate", "pulsectl contract validate --contract order.created/1 letter.json"},
	"contract diff":     {"pulsectl contract diff contracts/order.created/1.json contracts/order.created/2.json", "pulsectl contract diff old.json new.json --role consumer -o json"},
	"contract check": {"pulsectl contract check --against origin/main", "pulsectl contract check --transitive --accept order.created/2",
		"pulsectl contract check --pending"},
	"contract push":     {"pulsectl contract push --dry-run", "pulsectl contract push --suffix=-value --compatibility none"},
	"contract pull":     {"pulsectl contract pull order.created", "pulsectl contract pull --prefix shop. --dir contracts --force"},
	"contract asyncapi": {"pulsectl contract asyncapi > asyncapi.yaml", "pulsectl contract asyncapi -o json --role producer --topic OrderCreated=order.created --title Orders --api-version 2.1.0"},

	"outbox ls": {"pulsectl outbox ls --status dead", "pulsectl outbox ls --status pending --oldest-first --since 1h",
		"pulsectl outbox ls --error refused --columns id,attempts,lastError", "pulsectl outbox ls -o wide"},
	"outbox show":   {"pulsectl outbox show 01a2077e-aa18-74f7-aacf-79289ea1d69c"},
	"outbox stats":  {"pulsectl outbox stats -o json", "pulsectl outbox stats --watch --interval 5s"},
	"outbox errors": {"pulsectl outbox errors", "pulsectl outbox errors --status dead --since 1h -o wide"},
	"outbox tail":   {"pulsectl outbox tail", "pulsectl outbox tail -f --topic order.created", "pulsectl outbox tail -f -o jsonl"},
	"outbox relays": {"pulsectl outbox relays", "pulsectl outbox relays -o wide --watch"},
	"outbox trace":  {"pulsectl outbox trace 01a2077e-aa18-74f7-aacf-79289ea1d69c"},
	"outbox retry": {"pulsectl outbox retry 01a2077e-aa18-74f7-aacf-79289ea1d69c", "pulsectl outbox ls -q --status dead | pulsectl outbox retry -", "pulsectl outbox retry --all --dry-run",
		"pulsectl outbox retry --error 'no queue is bound' --since 2h --dry-run", "pulsectl outbox retry --topic order.created --limit 10"},
	"outbox discard": {"pulsectl outbox discard 01a2077e-aa18-74f7-aacf-79289ea1d69c --reason 'customer was deleted'",
		"pulsectl outbox discard --topic order.created --key order-7 --reason 'customer was deleted'"},
	"outbox purge":  {"pulsectl outbox purge --older-than 24h --dry-run", "pulsectl outbox purge --older-than 24h --reason 'disk is full'"},
	"outbox pause":  {"pulsectl outbox pause --reason 'the broker is being moved'", "pulsectl outbox pause --topic order.created --reason 'the consumer writes nonsense'"},
	"outbox resume": {"pulsectl outbox resume", "pulsectl outbox resume --topic order.created"},
	"outbox pauses": {"pulsectl outbox pauses", "pulsectl outbox pauses -o json"},
	"outbox audit":  {"pulsectl outbox audit --since 24h", "pulsectl outbox audit --action discard -o wide", "pulsectl outbox audit --id 01a2077e-aa18-74f7-aacf-79289ea1d69c"},
	"outbox wait":   {"pulsectl outbox wait --drained", "pulsectl outbox wait --drained --timeout 10m"},

	"inbox ls": {"pulsectl inbox ls --since 15m", "pulsectl inbox ls --event 01a2077e-aa18-74f7-aacf-79289ea1d69c"},

	"inbox show":  {"pulsectl inbox show 01a2077e-aa18-74f7-aacf-79289ea1d69c"},
	"inbox stats": {"pulsectl inbox stats", "pulsectl --consumer billing inbox stats --watch"},
	"inbox purge": {"pulsectl inbox purge --older-than 720h --dry-run", "pulsectl inbox purge --older-than 240h --outbox-retention 72h --yes"},

	"trace": {"pulsectl trace 01a2077e-aa18-74f7-aacf-79289ea1d69c", "pulsectl trace demo-1", "pulsectl why 01a2077e-aa18-74f6-bc5d-9af2b23e0269 --look never -o json"},

	"replay": {"pulsectl replay --from 2h --topic order.created --rate 50", "pulsectl replay 01a2077e-aa18-74f7-aacf-79289ea1d69c --times 3", "pulsectl outbox ls -q --status published --since 1h | pulsectl replay - --dry-run"},

	"dlq ls":    {"pulsectl dlq ls --error 'mail server' --since 1h", "pulsectl dlq ls --group", "pulsectl --queue invoice.sent dlq ls --key customer-123 -o wide"},
	"dlq stats": {"pulsectl dlq stats", "pulsectl dlq stats --all-queues -o json"},
	"dlq show":  {"pulsectl dlq show 01a2077e-aa18-74f7-aacf-79289ea1d69c"},
	"dlq heal":  {"pulsectl dlq heal --group-id 3fa9c1d2", "pulsectl dlq heal --all --rate 50 --timeout 10m"},
	"dlq requeue": {"pulsectl dlq requeue 01a2077e-aa18-74f7-aacf-79289ea1d69c", "pulsectl dlq requeue --group-id 3fa9c1d2 --rate 50 --dry-run", "pulsectl dlq ls -q --type OrderCreated | pulsectl dlq requeue -",
		"pulsectl dlq requeue --all --to order.created.quarantine"},
	"dlq discard": {"pulsectl dlq discard --group-id 3fa9c1d2 --reason 'test orders' --yes", "pulsectl dlq discard 01a2077e-aa18-74f7-aacf-79289ea1d69c --reason 'customer was deleted'"},
	"dlq export":  {"pulsectl dlq export > letters.jsonl", "pulsectl dlq export --failure undecodable --file undecodable.jsonl"},
	"dlq import":  {"pulsectl dlq import letters.jsonl", "pulsectl dlq import letters.jsonl --to order.created --dry-run"},

	"migrate up":     {"pulsectl migrate up", "pulsectl migrate up --only outbox"},
	"migrate status": {"pulsectl migrate status"},
	"migrate print":  {"pulsectl migrate print > outbox.sql", "pulsectl migrate print --dialect sqlite --only inbox", "pulsectl migrate print --roles --prefix shop > roles.sql"},

	"relay run": {"pulsectl relay run --producer orders", "pulsectl relay run --producer orders --health-addr :6108 --retention 24h --log-format json",
		"pulsectl relay run --format cloudevents --source /orders --exchange shop.events"},

	"broker topology": {"pulsectl broker topology", "pulsectl --queue order.created broker topology --definitions > definitions.json", "pulsectl broker topology --topic 'order.*' --retry-delay 5s --retry-delay 5m -o json"},

	"bench relay":     {"pulsectl bench relay", "pulsectl bench relay --messages 100000 --queue-type classic --retention delete -o json", "pulsectl bench relay --keys 1 --messages 2000"},
	"bench inbox":     {"pulsectl bench inbox", "pulsectl bench inbox --messages 100000 --queue-type classic"},
	"bench enqueue":   {"pulsectl bench enqueue"},
	"bench roundtrip": {"pulsectl bench roundtrip --rate 200 --duration 30s"},

	"chaos broker-down":    {"pulsectl chaos broker-down", "pulsectl chaos broker-down --stop-cmd 'systemctl stop rabbitmq-server'"},
	"chaos broker-up":      {"pulsectl chaos broker-up"},
	"chaos broker-restart": {"pulsectl chaos broker-restart"},
	"chaos db-down":        {"pulsectl chaos db-down", "pulsectl chaos db-down --stop-cmd 'systemctl stop postgresql'"},
	"chaos db-up":          {"pulsectl chaos db-up"},
	"chaos broker-block":   {"pulsectl chaos broker-block"},
	"chaos broker-slow":    {"pulsectl chaos broker-slow --delay 2s"},
	"chaos poison":         {"pulsectl chaos poison", "pulsectl chaos clear"},
	"chaos drop-confirms":  {"pulsectl chaos drop-confirms --count 10"},
	"chaos duplicate":      {"pulsectl chaos duplicate --count 10"},
	"chaos ls":             {"pulsectl chaos ls"},
	"chaos run":            {"pulsectl chaos run --seed 1 --duration 2m", "pulsectl chaos run --faults kill,broker-kill --rate 50/s -o json"},
	"chaos clear":          {"pulsectl chaos clear"},

	"verify": {"pulsectl verify", "pulsectl verify --timeout 5m -o json", "pulsectl verify -q --only lost | pulsectl replay -", "pulsectl verify --ids acknowledged.txt",
		"pulsectl verify --consumer billing --topic invoice.sent --orders-table invoices.event_id --effects-table bookings.event_id"},

	"check lag":    {"pulsectl check lag", "pulsectl check lag --warn 30s --crit 2m", "pulsectl check lag -w 1m -c 1m --probe"},
	"check dead":   {"pulsectl check dead", "pulsectl check dead --warn 0 --crit 20"},
	"check relay":  {"pulsectl check relay", "pulsectl check relay --warn 2 --crit 1"},
	"check inbox":  {"pulsectl check inbox", "pulsectl --consumer billing check inbox --crit 50000 --instances 2"},
	"check broker": {"pulsectl check broker", "pulsectl check broker --exchange shop.events -o json"},
	"check schema": {"pulsectl check schema"},

	"help":       {"pulsectl help outbox ls", "pulsectl help exit-codes"},
	"completion": {"source <(pulsectl completion bash)", "pulsectl completion zsh > ~/.zsh/completions/_pulsectl", "pulsectl completion fish > ~/.config/fish/completions/pulsectl.fish"},
	"man":        {"pulsectl man > pulsectl.1", "pulsectl man | man -l -"},
	"version":    {"pulsectl version"},
}
